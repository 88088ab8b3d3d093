#include "app/handover.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dwspool/net/fd_channel.h"

#include "dwspool/proxy/client_record.h"
#include "dwspool/proxy/handover_message.h"

#include "app/inherited.h"
#include "app/notify.h"

namespace dwspool::app {
namespace {

constexpr Duration look_interval = std::chrono::milliseconds{20};
// To read the configuration and to listen.
constexpr Duration patience = std::chrono::seconds{30};

std::string own_file() {
  std::array<char, 4096> path{};
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  return size > 0 ? std::string(path.data(), static_cast<std::size_t>(size)) : std::string();
}

// Without what was meant for this process alone.
std::vector<std::string> own_environment() {
  std::vector<std::string> variables;
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view variable = *each;
    // Without its process, whoever has the variables is meant by the watchdog.
    if (variable.starts_with("WATCHDOG_PID=")) continue;
    variables.emplace_back(variable);
  }
  return variables;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// What posix_spawn is told, with its ends.
struct Plan {
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
  Plan() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    // As any process is started: nothing blocked, nothing ignored.
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Plan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
};

}  // namespace

Handover::Handover(proxy::Hub& hub, proxy::Server& server, Http http)
    : hub_(hub),
      server_(server),
      http_(std::move(http)),
      executable_(own_file()),
      environment_(own_environment()),
      timer_(server.loop(), [this] { look(); }) {}

Handover::~Handover() = default;

void Handover::start() {
  if (done_ || under_way_ || hub_.draining.load(std::memory_order_relaxed)) return;
  under_way_ = true;
  notify_reloading();
  hub_.log.write(LogLevel::info, "process.handover", "another process is started to take over",
                 {{"file", executable_}});
  http_.release([this] { go_on(); });
}

bool Handover::has_new_file() const {
  struct stat own {};
  struct stat there {};
  if (::stat("/proc/self/exe", &own) != 0 || ::stat(executable_.c_str(), &there) != 0) return false;
  const bool same = own.st_dev == there.st_dev && own.st_ino == there.st_ino;
  return !same && S_ISREG(there.st_mode) && ::access(executable_.c_str(), X_OK) == 0;
}

void Handover::go_on() {
  if (hub_.draining.load(std::memory_order_relaxed)) return;  // told to end meanwhile
  if (!spawn()) {
    return fail(std::string("the process cannot be started: ") + std::strerror(errno));
  }
  give_up_at_ = server_.loop().now() + patience;
  timer_.arm(server_.loop().now() + look_interval);
}

// False with errno when it cannot be started.
bool Handover::spawn() {
  UniqueFd theirs;
  if (!net::FdChannel::open_pair(channel_, theirs)) return false;
  std::vector<int> wanted = server_.descriptors();
  const std::size_t listeners = wanted.size();
  wanted.push_back(theirs.get());
  // Copies that lie beyond where they are to go, so that none overwrites another.
  Plan plan;
  std::vector<UniqueFd> copies;
  const int beyond = first_descriptor + static_cast<int>(wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    copies.emplace_back(::fcntl(wanted[i], F_DUPFD_CLOEXEC, beyond));
    if (!copies.back()) return false;
    posix_spawn_file_actions_adddup2(&plan.actions, copies.back().get(),
                                     first_descriptor + static_cast<int>(i));
  }
  std::vector<std::string> words = {executable_, "--config", hub_.config()->file};
  std::vector<std::string> variables = environment_;
  variables.push_back(std::string(handover_variable) + '=' + std::to_string(listeners));
  const int status = ::posix_spawn(&child_, executable_.c_str(), &plan.actions, &plan.attributes,
                                   pointers_to(words).data(), pointers_to(variables).data());
  if (status == 0) return true;
  child_ = 0;
  errno = status;
  return false;
}

// Has it said something?
void Handover::look() {
  std::array<char, 64> word{};
  const ssize_t got = ::recv(channel_.get(), word.data(), word.size(), 0);
  if (got > 0) {
    const auto said = proxy::read_handover_message({word.data(), static_cast<std::size_t>(got)});
    // Another version may know clients by other records, or not at all: then they stay here.
    return succeed(said && said->kind == proxy::HandoverMessage::Kind::ready &&
                   said->number == proxy::ClientRecord::version);
  }
  if (got == 0) return fail("it has ended; its own log says why");
  if (server_.loop().now() >= give_up_at_) return fail("it does not come to serve");
  timer_.arm(server_.loop().now() + look_interval);
}

void Handover::succeed(bool takes_clients) {
  done_ = true;
  if (!takes_clients) channel_.reset();
  hub_.log.write(LogLevel::info, "process.handed_over",
                 takes_clients
                     ? "another process takes the new clients, and the others when they are at rest"
                     : "another process takes the new clients; this one goes on with those it has",
                 {{"pid", static_cast<std::int64_t>(child_)}});
  notify_service_manager("MAINPID=" + std::to_string(child_) + "\nREADY=1");
  server_.hand_over(std::move(channel_));
}

void Handover::fail(const std::string& why) {
  channel_.reset();
  if (child_ != 0) {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    child_ = 0;
  }
  hub_.log.write(LogLevel::error, "process.handover_failed",
                 "nobody takes over, this process goes on: " + why);
  under_way_ = false;
  notify_service_manager("READY=1");
  http_.restore();
}

}  // namespace dwspool::app
