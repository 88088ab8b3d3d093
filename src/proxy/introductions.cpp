#include "dwspool/proxy/introductions.h"

#include <algorithm>

#include "dwspool/base/text.h"

#include "dwspool/wire/sqlstate.h"

#include "dwspool/auth/digest.h"

#include "dwspool/net/work.h"

namespace dwspool::proxy {
namespace {

// Whom the catalog does not know may be in it soon.
constexpr Duration longest_unknown = std::chrono::seconds{5};
// Names that wait to be looked up.
constexpr std::size_t most_lookups = 1000;
constexpr std::size_t salt_size = 16;

wire::ErrorReport wrong_password() {
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::invalid_password;
  return report;
}

// What the catalog has of the user: its name, and its secret. Anything else is nobody.
auth::UserSecret secret_in(const SideSession::Answer& answer, const std::string& user) {
  if (answer.rows.size() != 1 || answer.rows.front().size() < 2) return {};
  const std::vector<std::string>& row = answer.rows.front();
  auth::UserSecret secret = row[0] == user ? auth::parse_user_secret(row[1]) : auth::UserSecret();
  // A password in clear is nothing that a catalog has.
  return secret.kind == auth::UserSecret::Kind::plain ? auth::UserSecret() : secret;
}

}  // namespace

Introductions::Introductions(Hub& hub, net::Loop& loop)
    : hub_(hub), loop_(loop), self_(std::make_shared<Introductions*>(this)) {}

Introductions::~Introductions() {
  *self_ = nullptr;
}

void Introductions::forget(const Clusters& clusters) {
  std::erase_if(desks_, [&](const auto& each) {
    const bool current = std::any_of(clusters.begin(), clusters.end(), [&](const auto& cluster) {
      return cluster.get() == each.first;
    });
    return !current && each.second->lookups.empty();
  });
}

wire::ErrorReport Introductions::unavailable(const ClusterState& cluster, const Answer& answer) {
  hub_.log.write_limited(LogLevel::warning, "client.not_introduced",
                         "the cluster could not be asked who a client is",
                         {{"cluster", cluster.config().name},
                          {"sqlstate", printable(answer.sqlstate)},
                          {"reason", printable(answer.why, 256)}});
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::cannot_connect_now;
  report.message = "the cluster cannot be asked for this user at the moment";
  return report;
}

// --- auth_query ----------------------------------------------------------------------------------

bool Introductions::look_up(const std::shared_ptr<ClusterState>& cluster, const std::string& user,
                            Heard heard) {
  std::unique_ptr<Desk>& place = desks_[cluster.get()];
  if (!place) {
    const config::AuthQuery& query = cluster->config().auth_query;
    const auth::Credential credential{query.password, std::nullopt};
    const std::string name = account_name(cluster->config(), query.user, credential);
    place = std::make_unique<Desk>();
    place->cluster = cluster;
    place->account = {query.user, credential, query.database, name};
    place->inquiry = std::make_unique<Inquiry>(hub_, cluster, loop_);
  }
  Desk& desk = *place;
  const auto same = std::find_if(desk.lookups.begin(), desk.lookups.end(),
                                 [&](const Lookup& each) { return each.user == user; });
  if (same != desk.lookups.end()) {
    same->heard.push_back(std::move(heard));
    return true;
  }
  if (desk.lookups.size() >= most_lookups) return false;
  desk.lookups.push_back({user, {}});
  desk.lookups.back().heard.push_back(std::move(heard));
  if (desk.lookups.size() == 1) ask_next(desk);
  return true;
}

void Introductions::ask_next(Desk& desk) {
  desk.inquiry->ask_about(desk.account, desk.cluster->config().auth_query.query,
                          desk.lookups.front().user,
                          [this, &desk](const Answer& answer) { on_looked_up(desk, answer); });
}

void Introductions::on_looked_up(Desk& desk, const Answer& answer) {
  const Lookup lookup = std::move(desk.lookups.front());
  desk.lookups.pop_front();
  Outcome outcome;
  if (answer.kind != Answer::Kind::rows) {
    outcome.refusal = unavailable(*desk.cluster, answer);
  } else {
    const Duration kept = desk.cluster->config().auth_query.cache_time;
    outcome.known.secret = secret_in(answer, lookup.user);
    const bool known = outcome.known.secret.kind != auth::UserSecret::Kind::none;
    outcome.known.since = loop_.now();
    outcome.known.until = loop_.now() + (known ? kept : std::min(kept, longest_unknown));
    hub_.acquaintances.store(acquaintance_name(desk.cluster->config(), lookup.user), outcome.known);
  }
  if (!desk.lookups.empty()) ask_next(desk);
  for (const Heard& heard : lookup.heard) heard(outcome);
}

// --- pass_through --------------------------------------------------------------------------------

void Introductions::prove(const std::shared_ptr<ClusterState>& cluster, const std::string& user,
                          const std::string& database, const Secret& password, Heard heard) {
  retired_.clear();
  Account account{user, {password, std::nullopt}, database, {}, true};
  account.name = account_name(cluster->config(), user, account.credential);
  const std::string key = account.name + '\0' + database;
  Proof& proof = proofs_[key];
  proof.heard.push_back(std::move(heard));
  if (proof.inquiry) return;
  proof.cluster = cluster;
  proof.user = user;
  proof.password = password;
  proof.inquiry = std::make_unique<Inquiry>(hub_, cluster, loop_);
  proof.inquiry->log_in(account, [this, key](const Answer& answer) { on_proven(key, answer); });
}

void Introductions::on_proven(const std::string& key, const Answer& answer) {
  const Proof& proof = proofs_.at(key);
  Outcome outcome;
  switch (answer.kind) {
    case Answer::Kind::rows:
      if (!answer.credential.empty()) {
        keep(key, answer.credential);
        return;
      }
      hub_.log.write_limited(
          LogLevel::error, "client.nothing_proven",
          "a coordinator lets users in without a password, so that it cannot tell who they are",
          {{"cluster", proof.cluster->config().name}, {"user", printable(proof.user)}});
      outcome.refusal = wrong_password();
      break;
    case Answer::Kind::no_admission:
      hub_.log.write_limited(LogLevel::info, "client.refused_by_cluster",
                             "a coordinator does not let a client in by its password",
                             {{"cluster", proof.cluster->config().name},
                              {"user", printable(proof.user)},
                              {"sqlstate", printable(answer.sqlstate)},
                              {"reason", printable(answer.why, 256)}});
      if (answer.reveals || answer.sqlstate == wire::sqlstate::invalid_password) {
        outcome.refusal = wrong_password();
      } else {
        // In the cluster's own words, as it would say on a direct connection.
        outcome.refusal.emplace();
        outcome.refusal->sqlstate = answer.sqlstate;
        outcome.refusal->message = printable(answer.why, 512);
        outcome.refusal->hint = printable(answer.hint, 512);
      }
      break;
    case Answer::Kind::error:
    case Answer::Kind::no_session:
      outcome.refusal = unavailable(*proof.cluster, answer);
      break;
  }
  end_proof(key, outcome);
}

// What the next ones are held against is a verifier, which takes a while to make.
void Introductions::keep(const std::string& key, const auth::Credential& credential) {
  struct Job {
    Secret password;
    std::string salt;
    auth::ScramVerifier verifier;
  };
  auto job = std::make_shared<Job>(
      Job{proofs_.at(key).password, auth::random_bytes(salt_size), auth::ScramVerifier()});
  net::run_in_background(
      loop_,
      [job] { job->verifier = auth::make_scram_verifier(job->password.reveal(), job->salt); },
      [job, key, credential, self = self_] {
        if (*self == nullptr) return;
        Introductions& here = **self;
        const Proof& proof = here.proofs_.at(key);
        Outcome outcome;
        outcome.known.secret.kind = auth::UserSecret::Kind::scram;
        outcome.known.secret.scram = job->verifier;
        outcome.known.credential = credential;
        outcome.known.since = here.loop_.now();
        outcome.known.until = here.loop_.now() + proof.cluster->config().pass_through.cache_time;
        here.hub_.acquaintances.store(acquaintance_name(proof.cluster->config(), proof.user),
                                      outcome.known);
        here.end_proof(key, outcome);
      });
}

void Introductions::end_proof(const std::string& key, const Outcome& outcome) {
  const auto found = proofs_.find(key);
  Proof proof = std::move(found->second);
  proofs_.erase(found);
  for (const Heard& heard : proof.heard) heard(outcome);
  retired_.push_back(std::move(proof.inquiry));
}

}  // namespace dwspool::proxy
