#include "dwspool/proxy/prober.h"

#include <algorithm>
#include <charconv>

#include "dwspool/base/text.h"

namespace dwspool::proxy {
namespace {

// Every part by what a plain user may ask. The timeline of a primary stands in the name of the
// file that it writes; the control file lags behind. A standby knows which one it receives.
constexpr std::string_view role_question =
    "select pg_is_in_recovery()::int4, (current_setting('default_transaction_read_only') = "
    "'on')::int4, (select system_identifier from pg_control_system()), (extract(epoch from "
    "pg_postmaster_start_time()) * 1000000)::int8, case when pg_is_in_recovery() then 0 else "
    "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4 end, (case when "
    "pg_is_in_recovery() then coalesce(pg_last_wal_replay_lsn(), '0/0') else pg_current_wal_lsn() "
    "end - '0/0'::pg_lsn)::int8, coalesce((select received_tli from pg_stat_wal_receiver), 0)";
// For servers that do not have all of that, or keep it to themselves.
constexpr std::string_view short_role_question =
    "select pg_is_in_recovery()::int4, (current_setting('default_transaction_read_only') = "
    "'on')::int4";
constexpr std::string_view nodes_question =
    "select node_host, node_port from pgxc_node where node_type = 'C'";
constexpr std::string_view version_question = "select version()";
// Those that are kept for administrators are not for dwspool.
constexpr std::string_view capacity_question =
    "select sum(case name when 'max_connections' then setting::int8 else -setting::int8 end) from "
    "pg_settings where name in ('max_connections', 'superuser_reserved_connections', "
    "'sysadmin_reserved_connections')";
constexpr std::string_view alive_question = "select 1";

template <class Number>
Number number_in(const std::vector<std::string>& row, std::size_t column) {
  Number number = 0;
  if (column >= row.size()) return number;
  const std::string& text = row[column];
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

cluster::ProbeAnswer read_role(const std::vector<std::string>& row) {
  cluster::ProbeAnswer answer;
  answer.sighting.in_recovery = number_in<int>(row, 0) != 0;
  answer.sighting.writable = number_in<int>(row, 1) == 0;
  answer.sighting.system = number_in<std::uint64_t>(row, 2);
  answer.sighting.instance = number_in<std::uint64_t>(row, 3);
  answer.sighting.timeline = number_in<std::uint32_t>(row, 4);
  answer.position = number_in<std::uint64_t>(row, 5);
  answer.receiving_timeline = number_in<std::uint32_t>(row, 6);
  return answer;
}

bool is_dws(std::string_view version) {
  return version.find("GaussDB") != std::string_view::npos ||
         version.find("openGauss") != std::string_view::npos;
}

std::string key_of(const Account& account) {
  return account.name + '\0' + account.database;
}

}  // namespace

Prober::Prober(Hub& hub, ClusterState& state, net::Loop& loop)
    : hub_(hub), state_(state), loop_(loop), names_(hub, state, loop), timer_(loop, [this] {
        wake();
      }) {
  timer_.arm(loop.now());
}

void Prober::wake() {
  if (state_.take_unreachable()) names_.hurry();
  if (state_.is_probed() && !account_ && !choose_account()) return;  // an offer wakes it
  const ClusterState::Work work = state_.tick(loop_.now());
  if (state_.is_probed()) {
    for (const cluster::ProbeAction& probe : work.probes) {
      if (probe.host >= watches_.size()) watches_.resize(probe.host + 1);
      if (probe.begin) {
        begin(probe.host);
      } else if (watches_[probe.host].session) {
        watches_[probe.host].session->abort();
      }
    }
  }
  leave_removed();
  discover();
  timer_.arm(state_.config().discovery.enabled ? std::min(work.next, next_lookup_) : work.next);
}

// The configured one, else one that clients use.
bool Prober::choose_account() {
  std::vector<Account> accounts;
  const config::Cluster& cluster = state_.config();
  const config::Probing& probing = cluster.probing;
  if (!probing.user.empty()) {
    const auth::Credential credential{probing.password, std::nullopt};
    accounts.push_back({probing.user, credential, probing.database,
                        account_name(cluster, probing.user, credential)});
  }
  for (Account& offer : state_.offers()) accounts.push_back(std::move(offer));
  for (Account& account : accounts) {
    const std::string key = key_of(account);
    if (std::find(refused_.begin(), refused_.end(), key) != refused_.end()) continue;
    account_ = std::move(account);
    if (std::exchange(blind_, false)) state_.set_blind(false);
    return true;
  }
  // Who could tell the roles apart is not let in: then nobody waits for that.
  if (!accounts.empty() && !std::exchange(blind_, true)) state_.set_blind(true);
  return false;
}

void Prober::begin(cluster::HostId host) {
  Watch& watch = watches_[host];
  if (!watch.session) watch.session = std::make_unique<SideSession>(hub_, state_, loop_, host);
  watch.fresh = false;
  if (!account_) return;  // the time-out says what there is to say
  watch.question = next_question(watch);
  ask(host);
}

// The last one tells how the host is.
Prober::Question Prober::next_question(const Watch& watch) const {
  if (state_.dialect() == Dialect::unknown && !watch.knows_version) return Question::version;
  if (!watch.knows_capacity) return Question::capacity;
  if (state_.dialect() == Dialect::dws) return Question::alive;
  return watch.simple ? Question::role_by_rumour : Question::role;
}

void Prober::ask(cluster::HostId host) {
  const auto text_of = [](Question question) {
    switch (question) {
      case Question::version:
        return version_question;
      case Question::capacity:
        return capacity_question;
      case Question::role:
        return role_question;
      case Question::role_by_rumour:
        return short_role_question;
      case Question::alive:
        break;
    }
    return alive_question;
  };
  Watch& watch = watches_[host];
  watch.session->ask(*account_, std::string(text_of(watch.question)),
                     [this, host](const SideSession::Answer& answer) { on_answer(host, answer); });
}

void Prober::on_answer(cluster::HostId host, const SideSession::Answer& answer) {
  Watch& watch = watches_[host];
  using Kind = SideSession::Answer::Kind;
  // Behind a new log-in the server may be another one, or have been configured anew.
  if (answer.fresh && watch.question != Question::capacity) watch.knows_capacity = false;
  watch.fresh = watch.fresh || answer.fresh;
  switch (answer.kind) {
    case Kind::no_session:
      state_.on_probe_failed(host, answer.trouble, answer.why, loop_.now());
      return;
    case Kind::no_admission:
      on_no_admission(host, answer);
      return;
    case Kind::error:
      if (watch.question == Question::capacity && !answer.sqlstate.starts_with("57")) {
        watch.knows_capacity = true;
        watch.question = next_question(watch);
        ask(host);
        return;
      }
      if (watch.question == Question::role && !answer.sqlstate.starts_with("57")) {
        watch.simple = true;
        watch.question = Question::role_by_rumour;
        ask(host);
        return;
      }
      // It answers, and that is all.
      state_.on_probe_failed(host, cluster::Trouble::full, answer.why, loop_.now());
      return;
    case Kind::rows:
      break;
  }
  const std::vector<std::string> row =
      answer.rows.empty() ? std::vector<std::string>() : answer.rows.front();
  if (watch.question == Question::version) {
    watch.knows_version = true;
    const bool dws =
        watch.session->dialect() == Dialect::dws || (!row.empty() && is_dws(row.front()));
    state_.learn_dialect(dws ? Dialect::dws : Dialect::postgres);
    watch.question = next_question(watch);
    ask(host);
    return;
  }
  if (watch.question == Question::capacity) {
    watch.knows_capacity = true;
    state_.on_capacity(host, number_in<std::uint32_t>(row, 0));
    watch.question = next_question(watch);
    ask(host);
    return;
  }
  if (watch.question == Question::alive) {
    state_.on_probe_answer(host, {}, watch.fresh, loop_.now());
  } else {
    state_.on_probe_answer(host, read_role(row), watch.fresh, loop_.now());
  }
}

// On whichever host is well. A question that has not been answered by the next time is withdrawn.
void Prober::discover() {
  const config::Discovery& discovery = state_.config().discovery;
  if (!discovery.enabled || !account_ || loop_.now() < next_lookup_) return;
  const std::optional<cluster::HostId> host = state_.any_up();
  next_lookup_ =
      loop_.now() + (host ? discovery.interval : state_.config().probing.suspect_interval);
  if (!host) return;
  lookup_ = std::make_unique<SideSession>(hub_, state_, loop_, *host);
  lookup_->ask(*account_, std::string(nodes_question),
               [this](const SideSession::Answer& answer) { on_nodes(answer); });
}

void Prober::on_nodes(const SideSession::Answer& answer) {
  const config::Cluster& cluster = state_.config();
  std::vector<config::Coordinator> listed;
  for (const std::vector<std::string>& row : answer.rows) {
    config::Coordinator found;
    if (row.size() != 2 || row[0].empty()) continue;
    found.host = row[0];
    found.port = number_in<std::uint16_t>(row, 1);
    for (const auto& [inside, outside] : cluster.discovery.address_map) {
      if (inside.label() != found.label()) continue;
      found = outside;
      break;
    }
    if (found.port != 0) listed.push_back(std::move(found));
  }
  if (answer.kind != SideSession::Answer::Kind::rows || listed.empty()) {
    hub_.log.write_limited(LogLevel::warning, "cluster.discovery_failed",
                           "the coordinators could not be looked up in pgxc_node",
                           {{"cluster", cluster.name},
                            {"sqlstate", printable(answer.sqlstate)},
                            {"reason", printable(answer.why, 256)}});
    return;
  }
  state_.on_listed(listed, loop_.now());
  leave_removed();
}

void Prober::leave_removed() {
  for (cluster::HostId host = 0; host < watches_.size(); ++host) {
    if (watches_[host].session && state_.is_out(host)) watches_[host].session.reset();
  }
}

void Prober::on_no_admission(cluster::HostId host, const SideSession::Answer& answer) {
  if (account_) {
    hub_.log.write_limited(LogLevel::error, "cluster.probe_refused",
                           "a host does not let the probes in",
                           {{"cluster", state_.config().name},
                            {"host", state_.host(host).label()},
                            {"user", printable(account_->user)},
                            {"sqlstate", printable(answer.sqlstate)},
                            {"reason", printable(answer.why, 256)}});
    refused_.push_back(key_of(*account_));
    account_.reset();
  }
  static_cast<void>(choose_account());
  state_.on_probe_failed(host, cluster::Trouble::full, answer.why, loop_.now());
}

}  // namespace dwspool::proxy
