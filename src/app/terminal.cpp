#include "app/terminal.h"

#include <cerrno>

#include <sys/ioctl.h>
#include <unistd.h>

namespace dwspool::app {

Terminal::Terminal() {
  has_keys_ = ::isatty(STDIN_FILENO) == 1 && ::tcgetattr(STDIN_FILENO, &before_) == 0;
  enter();
}

Terminal::~Terminal() {
  leave();
}

void Terminal::enter() {
  if (entered_) return;
  entered_ = true;
  if (has_keys_) {
    // Signals stay signals, and line ends line ends.
    termios keys = before_;
    keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &keys);
  }
  write("\x1b[?1049h\x1b[?25l");
}

void Terminal::leave() {
  if (!entered_) return;
  entered_ = false;
  write("\x1b[?25h\x1b[?1049l");
  if (has_keys_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
}

Terminal::Size Terminal::size() {
  winsize window{};
  Size size;
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 && window.ws_row > 0) {
    size.width = window.ws_col;
    size.height = window.ws_row;
  }
  return size;
}

bool Terminal::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace dwspool::app
