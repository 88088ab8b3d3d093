#include "dwspool/base/secret.h"

#include <cstring>

namespace dwspool {

void wipe(std::string& text) noexcept {
  // The capacity is wiped as well: assignment and moves may have left a longer secret behind.
  text.resize(text.capacity());  // never reallocates: resize up to capacity
  ::explicit_bzero(text.data(), text.size());
  text.clear();
}

}  // namespace dwspool
