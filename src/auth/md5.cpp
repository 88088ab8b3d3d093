#include "dwspool/auth/md5.h"

#include "dwspool/auth/digest.h"

namespace dwspool::auth {

std::string md5_password(std::string_view user, std::string_view password) {
  return "md5" + md5_hex(std::string(password) + std::string(user));
}

std::string md5_answer(std::string_view stored, std::string_view salt) {
  return "md5" + md5_hex(std::string(stored.substr(3)) + std::string(salt));
}

}  // namespace dwspool::auth
