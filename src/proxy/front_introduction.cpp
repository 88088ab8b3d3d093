// A client whom the configuration does not know: its cluster is asked who it is (auth_query), or
// whether its password is right (pass_through).
#include "dwspool/base/text.h"

#include "dwspool/wire/sqlstate.h"

#include "dwspool/proxy/front_conn.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {
namespace {

using Need = session::StartupFlow::Need;

// What is known is asked for anew where it turns out wrong, but not more often than this.
constexpr Duration shortest_knowledge = std::chrono::seconds{1};

}  // namespace

// Null if the configuration knows the user, or nobody does.
std::unique_ptr<FrontConn::Introduction> FrontConn::introduction() const {
  if (method_ == auth::ClientMethod::trust) return nullptr;
  const config::Config& config = worker_.config();
  const config::User* const user = config.find_user(user_);
  if (user != nullptr && user->secret.kind != auth::UserSecret::Kind::none) return nullptr;
  const config::Cluster* const cluster = config.cluster_of(startup_->database());
  const bool console = config::is_console(startup_->database());
  if (console || cluster == nullptr || !cluster->introduces()) return nullptr;
  auto made = std::make_unique<Introduction>();
  made->cluster = worker_.state_of(*cluster);
  made->passes_through = cluster->pass_through.enabled;
  made->known = worker_.hub().acquaintances.find(acquaintance_name(*cluster, user_), worker_.now());
  return made;
}

// False when the client is refused at once.
bool FrontConn::look_up() {
  const bool asked = worker_.introductions().look_up(
      introduction_->cluster, user_,
      [&worker = worker_, id = id_](const Introductions::Outcome& outcome) {
        if (FrontConn* const client = worker.find_client(id)) client->on_introduced(outcome);
        worker.settle();
      });
  introduction_->under_way = asked;
  if (asked) return true;
  wire::ErrorReport report;
  report.sqlstate = wire::sqlstate::cannot_connect_now;
  report.message = "too many users wait to be looked up";
  static_cast<void>(startup_->refuse(std::move(report), worker_.output()));
  return false;
}

void FrontConn::on_introduced(const Introductions::Outcome& outcome) {
  if (!startup_ || lingering_ || !introduction_) return;
  introduction_->under_way = false;
  if (outcome.refusal) {
    refuse_introduction(*outcome.refusal);
    return;
  }
  introduction_->known = outcome.known;
  if (ask_proof()) {
    go_on_logging_in(Need::input);
  } else if (flush()) {
    static_cast<void>(finish());
  }
}

void FrontConn::on_password_checked(const auth::PasswordVerdict& verdict) {
  if (!startup_ || lingering_) return;
  const bool passes = introduction_ && introduction_->passes_through;
  if (passes && !verdict.right && prove_at_cluster()) return;
  if (passes && verdict.right) keep_proof(introduction_->known->credential);
  go_on_logging_in(startup_->on_checked(verdict, worker_.output()));
}

// The password is not known to be right; whether it is, the cluster says. False when there is
// nothing to ask.
bool FrontConn::prove_at_cluster() {
  const Secret given = startup_->password_check().given;
  if (given.empty()) return false;
  const config::Database* const database = worker_.config().find_database(startup_->database());
  if (database == nullptr) return false;
  worker_.introductions().prove(
      introduction_->cluster, user_,
      database->backend_database.empty() ? startup_->database() : database->backend_database, given,
      [&worker = worker_, id = id_](const Introductions::Outcome& outcome) {
        if (FrontConn* const client = worker.find_client(id)) client->on_proven(outcome);
        worker.settle();
      });
  return true;
}

void FrontConn::on_proven(const Introductions::Outcome& outcome) {
  if (!startup_ || lingering_) return;
  if (!outcome.refusal) {
    keep_proof(outcome.known.credential);
    go_on_logging_in(startup_->on_checked({true, {}}, worker_.output()));
  } else if (outcome.refusal->sqlstate == wire::sqlstate::invalid_password) {
    go_on_logging_in(startup_->on_checked({}, worker_.output()));
  } else {
    refuse_introduction(*outcome.refusal);
  }
}

// For a reason that is none of the client's password.
void FrontConn::refuse_introduction(const wire::ErrorReport& report) {
  worker_.metrics().refusals[static_cast<std::size_t>(metrics::Refusal::access)].add();
  static_cast<void>(startup_->refuse(report, worker_.output()));
  if (flush()) static_cast<void>(finish());
}

// What the client has sent meanwhile comes to its turn.
void FrontConn::go_on_logging_in(Need need) {
  std::string_view in = in_.view();
  const std::size_t before = in.size();
  if (!follow(need, in)) return;
  if (need == Need::input && startup_ && !lingering_ && !process_startup(in)) return;
  in_.consume(before - in.size());
  update_interest();
}

// The catalog may have another secret by now.
void FrontConn::note_wrong_password() {
  // By pass_through it was asked just now.
  if (!introduction_ || !introduction_->known || introduction_->passes_through) return;
  if (worker_.now() - introduction_->known->since < shortest_knowledge) return;
  worker_.hub().acquaintances.forget(acquaintance_name(introduction_->cluster->config(), user_));
}

void FrontConn::keep_proof(const auth::Credential& credential) {
  if (!credential.empty()) proven_ = std::make_unique<const auth::Credential>(credential);
}

PoolContext* FrontConn::find_own_pool(const std::string& database) {
  return worker_.find_pool(database, user_, proven_ ? *proven_ : auth::Credential());
}

}  // namespace dwspool::proxy
