#include "app/watchdog.h"

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <unistd.h>

#include "app/notify.h"

namespace dwspool::app {
namespace {

std::int64_t number_of(const char* text) {
  std::int64_t number = 0;
  const char* const end = text + std::strlen(text);
  const auto [rest, failure] = std::from_chars(text, end, number);
  return failure == std::errc{} && rest == end ? number : 0;
}

}  // namespace

Duration watchdog_interval(const char* microseconds, const char* process, long self) {
  if (microseconds == nullptr) return Duration::zero();
  if (process != nullptr && number_of(process) != self) return Duration::zero();
  const std::int64_t limit = number_of(microseconds);
  constexpr std::int64_t day = 86400LL * 1000000;
  if (limit <= 0 || limit > day) return Duration::zero();
  return std::chrono::microseconds{limit} / 2;
}

Watchdog::Watchdog(net::Loop& loop, std::function<bool()> is_well)
    : loop_(loop),
      is_well_(std::move(is_well)),
      interval_(
          watchdog_interval(std::getenv("WATCHDOG_USEC"), std::getenv("WATCHDOG_PID"), ::getpid())),
      timer_(loop, [this] { on_time(); }) {
  if (interval_ > Duration::zero()) on_time();
}

void Watchdog::on_time() {
  if (is_well_()) notify_service_manager("WATCHDOG=1");
  timer_.arm(loop_.now() + interval_);
}

}  // namespace dwspool::app
