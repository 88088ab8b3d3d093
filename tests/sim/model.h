// What a session on a database server is, as far as the simulation goes: transactions, settings,
// locks, temporary tables, prepared statements.
//
// It is used twice. A simulated server process answers out of one, and every simulated client
// keeps one of its own, which is what it would have on a direct connection: whatever it is told
// through dwspool must be what its own model says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dwspool/wire/types.h"

namespace dwspool::sim {

enum class Op : std::uint8_t {
  empty,
  begin,
  commit,
  rollback,
  savepoint,
  release,
  rollback_to,
  insert,
  insert_by_call,  // ... by a function, which has a row with the number
  insert_doomed,   // its transaction fails at COMMIT, like a deferred constraint
  select_echo,     // a row with the number
  select_row,      // whether a row with the number is there
  fail,
  sleep,  // can be cancelled for a while
  set,
  set_local,
  reset,
  reset_all,
  show,
  discard_all,
  close_all,
  prepare,
  execute,
  deallocate,
  deallocate_all,
  lock,
  unlock,
  unlock_all,
  temporary,
  session_state,
  copy_in,
  set_authorization,
  // dwspool's own, of level `token`:
  insert_token,
  ask_tokens,
  outcome,       // settles it
  look_outcome,  // only looks, which proves nothing
  end_process,   // by its number
  unknown,
};

struct Statement {
  Op op = Op::empty;
  std::string name;
  std::string value;
  std::uint64_t number = 0;
  bool parameter = false;  // the number comes with Bind
};
Statement read_statement(std::string_view text);
std::vector<std::string_view> split_statements(std::string_view text);
bool has_rows(const Statement& statement);

struct Answer {
  std::string sqlstate;  // not empty: an error
  std::string tag;
  std::optional<std::string> row;
  bool copy_in = false;
  bool empty = false;

  bool ok() const { return sqlstate.empty(); }
};

using Settings = std::map<std::string, std::string>;
bool is_reported(std::string_view name);
const Settings& server_defaults();

// Where committed rows are looked for.
class Rows {
 public:
  Rows() = default;
  virtual ~Rows() = default;
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;
  virtual bool contains(std::uint64_t number) const = 0;
  // A standby was promoted that did not have it, although it had been committed.
  virtual bool forgot(std::uint64_t number) const = 0;
  // What the transaction that wrote the row had read by then, see SessionModel::saw.
  virtual std::uint64_t view(std::uint64_t number) const = 0;
  // The row of this commit token is there, whoever wrote it.
  virtual bool has_token(const std::string& token) const = 0;
};

class SessionModel {
 public:
  SessionModel(const Rows& rows, Settings defaults)
      : rows_(&rows), defaults_(std::move(defaults)) {}

  // `alone`: the only statement of its message. Transactions are begun as needed.
  Answer run(const Statement& statement, bool alone);
  // The end of a simple Query's text, and Sync: an implicit transaction commits.
  Answer finish();
  // An error of any kind.
  void fail();
  // The transaction is lost, and only its end is understood any more.
  void lose();
  // The whole transaction is gone, whatever it was.
  void abort();
  // COPY is over; the tag.
  Answer copied(const std::vector<std::uint64_t>& numbers);

  // Extended protocol
  Answer parse(const std::string& name, std::string_view text);
  void parse_anyway(const std::string& name, std::string_view text) {
    prepared_[name] = {read_statement(text), false};
  }
  Answer bind(const std::string& name, std::uint64_t parameter);
  Answer describe_statement(const std::string& name);
  Answer describe_portal();
  void close_statement(const std::string& name) { prepared_.erase(name); }
  // What Execute would run; null when there is no portal.
  const Statement* portal() const { return portal_ ? &*portal_ : nullptr; }
  void drop_unnamed();

  wire::TxStatus status() const;
  bool in_block() const { return state_ == State::open || state_ == State::failed; }
  bool lost() const { return lost_; }
  bool failed() const { return state_ == State::failed; }
  // Whether running this, or finish(), would make rows durable.
  bool would_commit(const Statement& statement) const;
  bool finish_commits() const { return state_ == State::implicit; }
  // The rows that commits have made durable since the last call.
  std::vector<std::uint64_t> take_committed();
  std::string take_committed_token() { return std::exchange(committed_token_, {}); }
  // Written, and not committed yet.
  const std::string& pending_token() const { return token_; }
  const std::vector<std::uint64_t>& pending() const { return writes_; }
  // The transaction was shown this about a row. All that it was shown, in order, is its view: the
  // one that is committed must be the one that the client has seen.
  void saw(std::uint64_t number, std::string_view shown);
  // ... of the transaction that was committed last.
  std::uint64_t committed_view() const { return committed_view_; }

  std::string value(const std::string& name) const;
  // What outlives the transaction.
  const Settings& session_settings() const { return state_now_.session; }
  std::string session_state() const;
  bool knows(const std::string& name) const { return prepared_.contains(name); }
  const std::set<std::uint64_t>& locks() const { return locks_; }
  std::vector<std::string> savepoint_names() const;

 private:
  enum class State : std::uint8_t { none, implicit, open, failed };
  // What a rollback brings back.
  struct Snapshot {
    Settings session;
    Settings local;
    std::set<std::string> temporary;
  };
  struct Savepoint {
    std::string name;
    Snapshot before;
    std::size_t writes = 0;
    bool doomed = false;
  };
  struct Prepared {
    Statement statement;
    bool by_sql = false;
  };
  bool leaves_failed(Op op) const;
  Answer commit();
  Answer run_settings(const Statement& statement, bool alone);
  Answer run_session(const Statement& statement);
  Answer run_transaction(const Statement& statement);
  void end();

  const Rows* rows_;
  Settings defaults_;
  State state_ = State::none;
  Snapshot state_now_;
  Snapshot before_;
  std::vector<Savepoint> savepoints_;
  std::vector<std::uint64_t> writes_;
  std::vector<std::uint64_t> committed_;
  std::string token_;
  std::string committed_token_;
  std::uint64_t view_ = 0;
  std::uint64_t committed_view_ = 0;
  bool doomed_ = false;
  bool lost_ = false;
  std::set<std::uint64_t> locks_;
  std::map<std::string, Prepared> prepared_;
  std::optional<Statement> portal_;
};

}  // namespace dwspool::sim
