// PostgreSQL's md5 authentication.
#pragma once

#include <string>
#include <string_view>

namespace dwspool::auth {

// As stored: "md5" and md5(password, user).
std::string md5_password(std::string_view user, std::string_view password);

// As answered: "md5" and md5(hash without its prefix, salt). `stored` is md5_password's form.
std::string md5_answer(std::string_view stored, std::string_view salt);

}  // namespace dwspool::auth
