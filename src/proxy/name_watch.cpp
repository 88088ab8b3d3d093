#include "dwspool/proxy/name_watch.h"

#include <algorithm>
#include <utility>

#include "dwspool/base/text.h"

namespace dwspool::proxy {

NameWatch::NameWatch(Hub& hub, ClusterState& state, net::Loop& loop)
    : hub_(hub), state_(state), loop_(loop), timer_(loop, [this] { look_around(); }) {
  const Duration interval = state.config().resolve_interval;
  if (interval <= Duration::zero()) return;
  for (const config::Coordinator& each : state.names()) {
    names_.push_back({each.host, each.port, cluster::NameSchedule(interval, loop.now()), nullptr});
  }
  arm();
}

void NameWatch::hurry() {
  for (Name& name : names_) name.schedule.hurry(loop_.now());
  arm();
}

void NameWatch::look_around() {
  const TimePoint now = loop_.now();
  for (std::size_t i = 0; i < names_.size(); ++i) {
    Name& name = names_[i];
    if (name.schedule.is_late(now)) {
      name.resolver.reset();
      name.schedule.on_silence(now);
      note_failure(name, "no answer in time");
    }
    if (name.schedule.is_due(now)) begin(i);
  }
  arm();
}

void NameWatch::begin(std::size_t index) {
  Name& name = names_[index];
  name.schedule.on_begun(loop_.now());
  name.resolver = std::make_unique<net::Resolver>(
      loop_, name.host, name.port,
      [this, index](const std::vector<net::Address>& addresses, const std::string& error) {
        on_resolved(index, addresses, error);
      });
}

void NameWatch::on_resolved(std::size_t index, const std::vector<net::Address>& addresses,
                            const std::string& error) {
  Name& name = names_[index];
  const std::unique_ptr<net::Resolver> within = std::move(name.resolver);
  if (addresses.empty()) {
    name.schedule.on_silence(loop_.now());
    note_failure(name, error);
  } else {
    name.schedule.on_answer(loop_.now());
    state_.on_resolved(index, addresses, loop_.now());
  }
  arm();
}

void NameWatch::note_failure(const Name& name, const std::string& why) {
  hub_.log.write_limited(LogLevel::warning, "cluster.name_unresolved",
                         "a host's name could not be looked up; what is known of it stays",
                         {{"cluster", state_.config().name},
                          {"name", printable(name.host)},
                          {"reason", printable(why, 256)}});
}

void NameWatch::arm() {
  TimePoint next = never;
  for (const Name& name : names_) next = std::min(next, name.schedule.next());
  timer_.arm(next);
}

}  // namespace dwspool::proxy
