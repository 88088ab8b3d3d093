// The terminal while `dwspool top` has it: another screen, no echo, keys one by one. However the
// process ends, but for SIGKILL, it gets back what it had.
#pragma once

#include <cstddef>
#include <string_view>

#include <termios.h>

namespace dwspool::app {

class Terminal {
 public:
  // Standard output must be a terminal. Standard input may be none: then there are no keys.
  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  struct Size {
    std::size_t width = 80;
    std::size_t height = 24;
  };
  static Size size();
  bool has_keys() const { return has_keys_; }

  // Gives the terminal back and takes it again: for a process that is stopped and goes on.
  void leave();
  void enter();

  // Everything, unless nobody reads it any more: then false.
  static bool write(std::string_view text);

 private:
  bool has_keys_ = false;
  bool entered_ = false;
  termios before_{};
};

}  // namespace dwspool::app
