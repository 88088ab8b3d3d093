// The simulated cluster: coordinators that accept connections, processes that answer like
// PostgreSQL's, and the rows that have been committed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "dwspool/wire/messages.h"
#include "dwspool/wire/startup.h"

#include "dwspool/auth/client_auth.h"

#include "sim/model.h"
#include "sim/network.h"
#include "sim/trouble.h"

namespace dwspool::sim {

class Cluster;

// The rows, and with them the commit records: what is here is durable.
class Database final : public Rows {
 public:
  bool contains(std::uint64_t number) const override { return count(number) > 0; }
  bool forgot(std::uint64_t number) const override { return forgotten_.contains(number); }
  std::uint64_t view(std::uint64_t number) const override {
    const auto found = rows_.find(number);
    return found == rows_.end() ? 0 : found->second.view;
  }
  std::uint32_t count(std::uint64_t number) const {
    const auto found = rows_.find(number);
    return found == rows_.end() ? 0 : found->second.count;
  }
  bool has_token(const std::string& token) const override { return tokens_.contains(token); }
  // Settles it: whether its transaction has committed; if not, it never will.
  bool settle(const std::string& token) { return tokens_.try_emplace(token, false).first->second; }
  bool committed(const std::string& token) const {
    const auto found = tokens_.find(token);
    return found != tokens_.end() && found->second;
  }
  // One transaction; `token` may be empty.
  void commit(const std::vector<std::uint64_t>& numbers, std::uint64_t view,
              const std::string& token);
  // The last transaction was not on the standby that is the primary now.
  void forget_last();

 private:
  struct Row {
    std::uint32_t count = 0;
    std::uint64_t view = 0;
  };
  std::unordered_map<std::uint64_t, Row> rows_;
  std::unordered_set<std::uint64_t> forgotten_;
  std::unordered_map<std::string, bool> tokens_;  // true: of a transaction; else a tombstone
  std::vector<std::uint64_t> last_;
  std::string last_token_;
};

enum class Manners : std::uint8_t { postgres, gauss };

// How a coordinator behaves; the same for the whole schedule.
struct Habits {
  Manners manners = Manners::postgres;
  bool knows_3_51 = true;       // else it refuses it, and 3.0 must be tried
  bool reports_at_once = true;  // ParameterStatus right behind the SET, not before ReadyForQuery
  auth::ClientMethod method = auth::ClientMethod::trust;
};

class ServerProcess final : public Endpoint {
 public:
  ServerProcess(Cluster& cluster, std::size_t coordinator, int number);

  void on_bytes(std::string_view bytes) override { in_ += bytes; }
  void on_end(bool clean) override;

  // Whether step() has something to do.
  bool can_step() const;
  void step();
  // SIGINT: what runs at the moment ends with 57014.
  void cancel();
  // SIGTERM: a last word, and the end.
  void terminate();
  // The machine is gone; a commit under way may have made it.
  void crash();
  void notice();

  const Plug& plug() const { return plug_; }
  void attach(Plug plug);
  bool gone() const { return gone_; }
  bool logged_in() const { return model_.has_value(); }
  bool busy() const { return stage_ != Stage::idle; }
  std::string_view input() const { return in_; }
  std::size_t coordinator() const { return coordinator_; }
  int number() const { return number_; }
  const SessionModel& model() const { return *model_; }
  const wire::KeyData& key() const { return key_; }
  // What runs at the moment, for those who want to know whose it is; 0: nothing with a number.
  std::uint64_t running() const { return running_; }
  void skip_login();

 private:
  enum class Stage : std::uint8_t {
    idle,
    statement,   // the next of statements_ is to be run
    executing,   // it runs; a cancel would hit it
    committing,  // the next step makes it durable
    committed,   // ... it is; nobody knows yet
    copying,
  };
  // What a commit was for.
  enum class Then : std::uint8_t { statement, text_end, sync };

  bool take_message();
  bool on_startup();
  void on_password(std::string_view body);
  void send_welcome();
  bool in_trouble(const Statement& statement);
  bool trouble_at_commit();
  void make_durable(SessionModel& model);
  void say_trouble(Trouble trouble);
  bool on_message(char type, std::string_view body);
  void on_parse(std::string_view body);
  void on_bind(std::string_view body);
  void on_describe(std::string_view body);
  void on_close(std::string_view body);
  void on_execute(std::string_view body);
  void on_copy(char type, std::string_view body);
  bool micro_step();
  void run_statement();
  void commit(Then then);
  void after_commit();
  void complete(const Answer& answer);
  void answer_catalog_question(std::string_view text);
  bool answer_outcome(const Statement& statement);
  void next_statement();
  void error(std::string_view sqlstate, std::string_view text);
  void ready();
  void report();
  void send(std::string_view bytes) { static_cast<void>(plug_.send(*context_, bytes)); }
  void finish();

  Cluster* cluster_;
  Context* context_;
  std::size_t coordinator_;
  int number_;
  Plug plug_;
  std::string in_;
  bool ended_ = false;
  std::size_t lingers_ = 0;  // so many steps
  bool gone_ = false;
  bool cancelled_ = false;
  std::optional<auth::ClientAuth> auth_;
  std::optional<SessionModel> model_;
  wire::KeyData key_;
  Settings told_;

  Stage stage_ = Stage::idle;
  std::deque<Statement> statements_;
  bool simple_ = false;
  bool alone_ = false;
  bool skipping_ = false;  // up to the next Sync
  Answer held_;            // the last one of a text, until its commit
  Then then_ = Then::statement;
  std::uint64_t running_ = 0;
  std::vector<std::uint64_t> copied_;
  std::string copy_line_;
};

class Cluster {
 public:
  Cluster(Context& context, std::size_t coordinators);

  Context& context() { return *context_; }
  Database& database() { return database_; }
  const Database& database() const { return database_; }
  Habits& habits(std::size_t coordinator) { return coordinators_[coordinator].habits; }
  std::size_t size() const { return coordinators_.size(); }
  bool is_up(std::size_t coordinator) const { return coordinators_[coordinator].up; }

  // Null when nobody listens.
  ServerProcess* connect(std::size_t coordinator, Plug plug);
  void crash(std::size_t coordinator);
  void end_process(std::size_t coordinator, std::uint32_t pid);
  void restart(std::size_t coordinator) { coordinators_[coordinator].up = true; }
  // A standby becomes the primary: all transactions are lost, and for a while nobody gets in.
  void begin_promotion();
  void end_promotion() { promoting_ = false; }
  // Standbys do not always have all that was committed.
  void set_forgetful() { forgetful_ = true; }
  // The data nodes behind a coordinator are away until then. Trouble::refused comes with those that
  // break in the middle of a statement or of a commit.
  void begin_trouble(std::size_t coordinator, Trouble trouble, TimePoint until) {
    coordinators_[coordinator].trouble = trouble;
    coordinators_[coordinator].trouble_ends = until;
  }
  Trouble trouble(std::size_t coordinator) const {
    const Coordinator& c = coordinators_[coordinator];
    return context_->now < c.trouble_ends ? c.trouble : Trouble::none;
  }
  bool promoting() const { return promoting_; }
  void refuse_logins(std::string sqlstate) { refusal_ = std::move(sqlstate); }
  const std::string& refusal() const { return refusal_; }

  void collect(std::vector<ServerProcess*>& processes);
  std::vector<std::unique_ptr<ServerProcess>>& processes() { return processes_; }
  // The process at the other end.
  ServerProcess* behind(const Plug& plug) const;
  void cancel(std::size_t coordinator, const wire::CancelRequest& request);
  wire::KeyData new_key();
  void sweep();

  // Called with the process whenever a cancel hits what it runs.
  void set_cancel_watch(std::function<void(const ServerProcess&)> watch) {
    cancel_watch_ = std::move(watch);
  }
  void cancel_hits(const ServerProcess& process) const {
    if (cancel_watch_) cancel_watch_(process);
  }
  // Called with each row that is about to become durable.
  void set_row_watch(std::function<void(std::uint64_t)> watch) { row_watch_ = std::move(watch); }
  void make_durable(const std::vector<std::uint64_t>& numbers, std::uint64_t view,
                    const std::string& token);
  // Somebody has written it, and has not committed yet.
  bool is_pending(const std::string& token) const;

 private:
  struct Coordinator {
    Habits habits;
    bool up = true;
    Trouble trouble = Trouble::none;
    TimePoint trouble_ends{};
  };
  Context* context_;
  Database database_;
  std::vector<Coordinator> coordinators_;
  std::vector<std::unique_ptr<ServerProcess>> processes_;
  std::function<void(const ServerProcess&)> cancel_watch_;
  std::function<void(std::uint64_t)> row_watch_;
  std::string refusal_;
  bool promoting_ = false;
  bool forgetful_ = false;
  int last_number_ = 0;
};

// What the password of the simulated user is.
inline constexpr std::string_view backend_user = "app";
inline constexpr std::string_view backend_password = "correct horse";

}  // namespace dwspool::sim
