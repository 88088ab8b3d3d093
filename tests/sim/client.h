// A simulated application: it sends whatever comes to its mind, keeps a model of the session that
// it would have on a direct connection, and complains about every answer that is not what the
// model says. What it was told about its writes goes to the ledger.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dwspool/base/pool_mode.h"

#include "dwspool/wire/messages.h"

#include "sim/model.h"
#include "sim/network.h"
#include "sim/trouble.h"

namespace dwspool::sim {

// Rows have the number of their client in front.
inline constexpr std::uint64_t rows_per_client = 1000;

// What is known about every row that was ever to be written.
enum class Fate : std::uint8_t {
  open,     // nothing was said yet
  acked,    // must be there, once
  failed,   // must not be there, ever
  unknown,  // 08007, or the connection was lost: there or not, but never twice
};

class Ledger {
 public:
  explicit Ledger(const Rows& rows, Context& context) : rows_(&rows), context_(&context) {}

  void write(std::uint64_t number) { fates_[number] = Fate::open; }
  void set(std::uint64_t number, Fate fate);
  Fate fate(std::uint64_t number) const {
    const auto found = fates_.find(number);
    return found == fates_.end() ? Fate::unknown : found->second;
  }
  const std::map<std::uint64_t, Fate>& fates() const { return fates_; }
  // Any row that somebody meant to write; 0 when there is none.
  std::uint64_t any(Random& random) const {
    if (fates_.empty()) return 0;
    const std::uint64_t last = fates_.rbegin()->first / rows_per_client;
    const std::uint64_t from = random.between(1, last) * rows_per_client + random.below(20);
    const auto found = fates_.lower_bound(from);
    return found == fates_.end() ? 0 : found->first;
  }

 private:
  const Rows* rows_;
  Context* context_;
  std::map<std::uint64_t, Fate> fates_;
};

enum class PieceKind : std::uint8_t {
  simple,
  parse,
  bind,
  describe_statement,
  describe_portal,
  execute,
  close,
};

struct Piece {
  PieceKind kind = PieceKind::simple;
  Statement statement;  // simple, execute
  std::string name;     // of the prepared statement
  std::string text;     // parse
  std::uint64_t parameter = 0;
  bool there = false;  // select_row: the row was, when this was sent
};

// What is answered by one ReadyForQuery.
struct Request {
  bool simple = true;
  std::vector<Piece> pieces;
  std::vector<std::uint64_t> numbers;  // rows that it is to write
  std::vector<std::uint64_t> copy;     // what COPY is to be fed with
  bool copy_fails = false;

  // The answer so far:
  std::size_t at = 0;
  bool failed = false;
  bool by_dwspool = false;  // ... with an error that no direct connection would have shown
  bool unknown = false;     // 08007
  bool described = false;   // RowDescription, for a simple statement
  bool copying = false;
  bool copied = false;
  std::optional<std::string> row;
};

struct ClientOptions {
  PoolMode mode = PoolMode::automatic;
  bool gauss = false;
  bool faults = true;     // errors of dwspool's own may be seen
  bool refusals = false;  // log-ins of backends may be refused for good
  bool replayed = false;
  // As most programs are: one request at a time, and transactions of a few writes.
  bool plain = false;
  std::size_t requests = 8;
};

class Client final : public Endpoint {
 public:
  Client(Context& context, Ledger& ledger, const Rows& rows, std::uint64_t number,
         const ClientOptions& options, Plug plug);

  void on_bytes(std::string_view bytes) override;
  void on_end(bool clean) override;

  // Whether it would say something now, and saying it. `winding_up`: comes to an end.
  bool can_act(bool winding_up) const;
  void act(bool winding_up);
  void vanish();
  // The bytes of a request to cancel, if there is something to cancel.
  std::optional<std::string> cancel_packet();

  bool gone() const { return gone_; }
  bool ready() const { return ready_; }
  std::uint64_t number() const { return number_; }
  std::size_t outstanding() const { return requests_.size(); }
  bool cancelled() const { return cancelled_; }
  const Plug& plug() const { return plug_; }

 private:
  friend class Script;
  void send_startup();
  void send(const std::string& bytes);
  void on_message(char type, std::string_view body, std::string_view frame);
  void on_login_message(char type, std::string_view body);
  void on_parameter(std::string_view body);
  void on_answer_message(char type, std::string_view body);
  void on_complete(std::string_view tag);
  void on_row_description();
  void on_no_data();
  void on_error(std::string_view body);
  void on_ready(std::string_view body);
  void on_copy_in();
  bool expects_error(const std::string& sqlstate);
  bool on_trouble(std::string_view text);
  void give_up_transaction();
  void take_committed();
  void on_shown(const Piece& piece, const Statement& run, const std::string& shown);
  bool depends_on_others(const Statement& run) const;
  Answer next_answer();
  void settle_writes(const Request& request);
  void end(bool answered);
  void leave_half_asked(const std::string& bytes, const std::vector<std::uint64_t>& rows);
  Piece& piece(const char* what);
  [[noreturn]] void complain(const std::string& what);

  Context& context_;
  Ledger& ledger_;
  const Rows& rows_;
  std::uint64_t number_;
  ClientOptions options_;
  Plug plug_;
  std::string in_;
  Settings startup_;
  SessionModel model_;
  std::map<std::string, std::string> told_;
  wire::KeyData key_;
  bool ready_ = false;  // logged in
  bool gone_ = false;
  bool leaving_ = false;  // Terminate is sent
  bool cancelled_ = false;
  bool dying_ = false;  // its session is lost: the next answer is the end
  bool confused_ = false;
  bool settings_unclear_ = false;
  bool others_seen_ = false;  // in this transaction, what may be different the next time
  std::optional<SessionModel> failed_instead_;  // 08007, and the transaction is there all the same
  bool chained_ = false;   // the open transaction began in a request with a COMMIT in it
  bool in_block_ = false;  // as of the last ReadyForQuery
  std::deque<Request> requests_;
  std::set<std::uint64_t> open_writes_;           // of the transaction, and of what is on its way
  std::vector<std::uint64_t> committed_;          // by commits of the present request
  std::map<std::uint64_t, std::uint64_t> views_;  // that they were committed with
  std::size_t requests_left_;
  std::uint64_t last_row_ = 0;
  // What the script counts on when it writes the next request.
  bool planned_block_ = false;
  std::map<std::string, std::string> planned_;  // prepared statements
  std::uint64_t last_name_ = 0;
  std::vector<std::uint64_t> planned_locks_;
  bool locks_unclear_ = false;  // one may have been taken by what has failed then
  std::vector<std::uint64_t> my_rows_;
  std::vector<std::string> sql_names_;
  bool plans_unnamed_ = false;
  std::string unnamed_text_;
};

}  // namespace dwspool::sim
