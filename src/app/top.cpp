#include "app/top.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "dwspool/base/unique_fd.h"

#include "app/terminal.h"

namespace dwspool::app {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds patience{10};  // with the console

std::string time_of_day() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%F %T", &parts);
  return {text.data(), size};
}

double seconds_of(Clock::time_point time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

bool is_screen() {
  const char* const kind = std::getenv("TERM");
  return ::isatty(STDOUT_FILENO) == 1 && kind != nullptr && *kind != '\0' &&
         std::string_view(kind) != "dumb";
}

// Signals as something to wait for.
class Signals {
 public:
  Signals() {
    sigset_t wanted;
    sigemptyset(&wanted);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP}) {
      sigaddset(&wanted, number);
    }
    ::sigprocmask(SIG_BLOCK, &wanted, nullptr);
    fd_ = UniqueFd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  int descriptor() const { return fd_.get(); }
  // 0 when there is none.
  int take() {
    signalfd_siginfo info{};
    return ::read(fd_.get(), &info, sizeof(info)) == sizeof(info) ? static_cast<int>(info.ssi_signo)
                                                                  : 0;
  }

 private:
  UniqueFd fd_;
};

class Top {
 public:
  Top(const TopCommand& command, ConnectionParameters parameters)
      : once_(command.once), interval_(command.interval), client_(std::move(parameters)) {
    if (command.once || command.batch) return;
    if (is_screen()) {
      terminal_.emplace();
      colors_ = std::getenv("NO_COLOR") == nullptr;
    } else {
      once_ = true;
    }
  }

  int run() {
    while (!status_) {
      const Clock::time_point now = Clock::now();
      if (client_.state() == ConsoleClient::State::working) {
        if (now >= deadline_) {
          client_.give_up();
          on_failure();
        }
      } else if (now >= next_) {
        deadline_ = now + patience;
        next_ = now + interval_;
        client_.begin();
        if (client_.state() == ConsoleClient::State::failed) on_failure();
      }
      if (!status_) wait();
    }
    terminal_.reset();
    if (*status_ == 1) std::fprintf(stderr, "dwspool top: %s\n", client_.problem().c_str());
    return *status_;
  }

 private:
  void wait() {
    const bool working = client_.state() == ConsoleClient::State::working;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        (working ? deadline_ : next_) - Clock::now());
    const bool keys = terminal_ && terminal_->has_keys();
    std::array<pollfd, 3> waits = {
        pollfd{signals_.descriptor(), POLLIN, 0}, pollfd{keys ? STDIN_FILENO : -1, POLLIN, 0},
        pollfd{working ? client_.descriptor() : -1, client_.events(), 0}};
    const auto limit = std::max<std::int64_t>(left.count() + 1, 0);
    if (::poll(waits.data(), waits.size(), static_cast<int>(limit)) <= 0) return;
    while (const int number = signals_.take()) on_signal(number);
    if (waits[1].revents != 0) on_keys();
    if (waits[2].revents == 0 || status_) return;
    switch (client_.proceed()) {
      case ConsoleClient::State::working:
        break;
      case ConsoleClient::State::failed:
        on_failure();
        break;
      case ConsoleClient::State::idle:
        on_snapshot();
        break;
    }
  }

  void on_signal(int number) {
    if (number == SIGWINCH) {
      draw();
    } else if (number == SIGTSTP) {
      if (terminal_) terminal_->leave();
      ::raise(SIGSTOP);
      if (terminal_) terminal_->enter();
      draw();
    } else {
      status_ = 128 + number;
    }
  }

  void on_keys() {
    std::array<char, 64> keys{};
    const ssize_t got = ::read(STDIN_FILENO, keys.data(), keys.size());
    if (got <= 0) {
      status_ = 0;  // the terminal is gone
      return;
    }
    for (const char key : std::string_view(keys.data(), static_cast<std::size_t>(got))) {
      if (key == 'q' || key == 'Q') status_ = 0;
      if (key == ' ') next_ = Clock::now();
    }
  }

  void on_snapshot() {
    before_ = std::exchange(now_, client_.snapshot());
    now_->at = seconds_of(Clock::now());
    now_->time = time_of_day();
    trouble_.clear();
    connected_ = true;
    if (terminal_) {
      draw();
      return;
    }
    if (once_ && !before_) return;  // rates want two
    print();
    if (once_) status_ = 0;
  }

  // Who has once been in waits for dwspool to come back. Who is refused at first is told so.
  void on_failure() {
    next_ = Clock::now() + interval_;
    before_.reset();
    if (!terminal_ || !connected_) {
      status_ = 1;
      return;
    }
    trouble_ = "no connection since " + time_of_day() + ": " + client_.problem();
    if (now_) now_->at = 0;
    draw();
  }

  const Snapshot* before() const { return before_ && before_->at > 0 ? &*before_ : nullptr; }

  void draw() {
    if (!terminal_ || !now_) return;
    const Terminal::Size size = Terminal::size();
    std::string out = "\x1b[H";
    const std::size_t first = trouble_.empty() ? 0 : 1;
    if (first > 0) out += "\x1b[7m" + trouble_.substr(0, size.width) + "\x1b[0m\x1b[K";
    bool begun = first > 0;
    const Screen screen{size.width, std::max<std::size_t>(size.height - first, 1), colors_};
    for (const std::string& line : render(*now_, before(), screen)) {
      if (std::exchange(begun, true)) out += "\r\n";
      out += line + "\x1b[K";
    }
    out += "\x1b[J";
    if (!Terminal::write(out)) status_ = 0;
  }

  void print() {
    std::string out;
    for (const std::string& line : render(*now_, before(), {})) out += line + '\n';
    if (!once_) out += '\n';
    if (!Terminal::write(out)) status_ = 0;
  }

  bool once_;
  bool colors_ = false;
  std::chrono::milliseconds interval_;
  Signals signals_;
  ConsoleClient client_;
  std::optional<Snapshot> before_;
  std::optional<Snapshot> now_;
  bool connected_ = false;
  std::string trouble_;
  Clock::time_point next_{};
  Clock::time_point deadline_{};
  std::optional<int> status_;
  std::optional<Terminal> terminal_;
};

}  // namespace

bool console_of(const config::Config& config, ConnectionParameters& parameters,
                std::string& problem) {
  std::vector<std::string> users = config.console.stats_users;
  users.insert(users.end(), config.console.admin_users.begin(), config.console.admin_users.end());
  if (users.empty()) {
    problem = config.file + " lets nobody see the console: name somebody in console.stats_users";
    return false;
  }
  const auto password_of = [&](const std::string& user) -> const Secret* {
    const config::User* const entry = config.find_user(user);
    return entry != nullptr && entry->secret.kind == auth::UserSecret::Kind::plain
               ? &entry->secret.plain
               : nullptr;
  };
  const auto known = std::find_if(users.begin(), users.end(), [&](const std::string& user) {
    return password_of(user) != nullptr;
  });
  const std::string& user = known == users.end() ? users.front() : *known;
  const config::Listener& listener = config.listeners.front();
  parameters = {{"host", listener.is_unix()     ? listener.unix_dir
                         : listener.host == "*" ? "127.0.0.1"
                                                : listener.host},
                {"port", std::to_string(listener.port)},
                {"user", user}};
  if (const Secret* const password = password_of(user)) {
    parameters.emplace_back("password", password->reveal());
  }
  return true;
}

int top(const TopCommand& command, ConnectionParameters parameters) {
  return Top(command, std::move(parameters)).run();
}

}  // namespace dwspool::app
