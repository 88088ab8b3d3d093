#include "app/inherited.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace dwspool::app {
namespace {

constexpr int most_descriptors = 1024;

// The variable as a number that makes sense, else 0. It is gone then.
long take_number(const char* variable) {
  const char* const text = std::getenv(variable);
  long number = 0;
  if (text != nullptr) {
    const char* const end = text + std::strlen(text);
    const auto [rest, failure] = std::from_chars(text, end, number);
    if (failure != std::errc{} || rest != end) number = 0;
  }
  ::unsetenv(variable);
  return number;
}

// Not ours when nobody has opened it. None that this process starts shall have it by accident.
UniqueFd adopt(int descriptor) {
  const int flags = ::fcntl(descriptor, F_GETFD);
  if (flags < 0) return {};
  static_cast<void>(::fcntl(descriptor, F_SETFD, flags | FD_CLOEXEC));
  return UniqueFd(descriptor);
}

}  // namespace

Inherited take_inherited() {
  Inherited inherited;
  const long handed_over = take_number(handover_variable);
  const long meant_for = take_number("LISTEN_PID");
  const long passed = take_number("LISTEN_FDS");
  ::unsetenv("LISTEN_FDNAMES");
  long count = handed_over;
  if (count == 0 && meant_for == ::getpid()) count = passed;
  if (count <= 0 || count > most_descriptors) return inherited;
  for (int i = 0; i < count; ++i) {
    if (UniqueFd socket = adopt(first_descriptor + i)) {
      inherited.listeners.push_back(std::move(socket));
    }
  }
  if (handed_over > 0) inherited.channel = adopt(first_descriptor + static_cast<int>(count));
  return inherited;
}

}  // namespace dwspool::app
