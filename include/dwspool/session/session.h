// One client's session, from the end of its log-in to its end: the pure heart of dwspool.
//
//              start            on_granted            settings suit
//   (log-in) ────────► starting ──────────► syncing ◄──────────────► attached
//                         │ welcome known      ▲                        │ nothing owed,
//                         ▼                    │ on_granted             │ transaction over,
//                       idle ──────────────► waiting                    │ nothing binds
//                         ▲   request needs                             │
//                         │   a backend                                 │
//                         └─────────────────────────────────────────────┘
//                                           release
//   any ──► ended
//
// Bytes and events come in, bytes and one `Next` go out. The session consumes whole messages
// from the front of its input (and large ones in pieces); what it leaves there it wants to see
// again, with more behind it. It knows no socket, no clock and no log, and never calls back.
//
// Not thread-safe: one worker owns a session and everything it refers to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dwspool/base/fifo.h"
#include "dwspool/base/pool_mode.h"

#include "dwspool/sql/statement.h"
#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"

#include "dwspool/retry/outcome.h"

#include "dwspool/session/backend.h"
#include "dwspool/session/image.h"
#include "dwspool/session/output.h"
#include "dwspool/session/prepared.h"
#include "dwspool/session/session_parts.h"
#include "dwspool/session/setting_changes.h"
#include "dwspool/session/settings.h"
#include "dwspool/session/welcome.h"

namespace dwspool::session {

// What the shell does after a step, and after having sent the step's bytes.
enum class Next : std::uint8_t {
  need_input,    // wait for more bytes from either side
  need_backend,  // acquire a backend, then call on_granted or on_acquire_failed
  release,       // the session has let go of its backend; see Backend::dirty and ::retire
  close,         // the client connection ends; the backend, if any, is still attached
};

enum class SessionState : std::uint8_t { starting, idle, waiting, syncing, attached, ended };
std::string_view to_string(SessionState state);

struct SessionConfig {
  PoolMode mode = PoolMode::automatic;
  bool defer_begin = true;
  std::size_t max_prepared_statements = 200;          // per backend
  std::size_t inspect_limit = std::size_t{1} << 20U;  // bytes of SQL that are read as a whole
  std::shared_ptr<const sql::NameSet> pin_on;         // may be null
  friend bool operator==(const SessionConfig&, const SessionConfig&) = default;
};

// What sessions of one pool share. Everything outlives them.
struct SessionContext {
  SessionConfig config;
  PreparedTable& statements;
  Interner<SettingSet>& settings;
  Interner<ReportedSet>& reported;
  WelcomeCache& welcome;
};

class Session {
 public:
  // `number` is unique among all sessions of the process, and not 0. `startup` are the settings
  // that the client's start-up packet asked for. `key` is what the client is told to cancel with.
  Session(SessionContext& context, std::uint64_t number, SettingsPtr startup, wire::KeyData key);
  // One that has been another process's: it is at rest, and start() is not to be called.
  Session(SessionContext& context, std::uint64_t number, const SessionImage& image,
          wire::KeyData key);

  // The client has been authenticated (and told so). Answers need_backend unless the welcome is
  // known already.
  Next start(Output& out);

  // Another key than the constructor's, before the welcome has told it.
  void set_key(wire::KeyData key) { key_ = std::move(key); }

  // Consumes from `in` what can be consumed now. After need_backend the message that needs it is
  // still at the front of `in`. Input that the state cannot use yet is left alone.
  Next on_client(std::string_view& in, Output& out);

  // The backend is this session's until a step answers `release`, or until part().
  Next on_granted(Backend& backend, Output& out);

  // No backend could be had: the text goes to the client, as the answer to the request that
  // waits (which on_client then consumes), or as the end of its log-in.
  Next on_acquire_failed(const wire::ErrorReport& report, Output& out);

  // Bytes from the attached backend.
  Next on_server(std::string_view& in, Output& out);

  // The attached backend is gone. The session lets go of it, and tells the client the truth
  // (doc/errors.md). `cause` is for the DETAIL.
  Next on_backend_lost(std::string_view cause, Output& out);

  // The client cancels while waiting for a backend (57014).
  Next on_cancel_while_waiting(Output& out);

  // The client has waited for a while: a NOTICE.
  void on_wait_notice(Output& out) const;

  // From now on the session ends (57P01) at its next transaction boundary; if it is at one, now.
  // `why` is what the client reads; the text is static.
  Next drain(Output& out, std::string_view why = "dwspool is shutting down");

  // Another context, of the same worker: the client's pool has been reconfigured, or is another
  // one. Precondition: the session has no backend, and the pool mode is the same.
  void set_context(SessionContext& context) { context_ = &context; }

  // For another process. Nothing unless it is at rest, without a backend.
  std::optional<SessionImage> image() const;

  // The client is gone, or the shell gives up on it. Lets go of the backend and says what is
  // left to do with it; null when there is none.
  Backend* part();

  // --- For running again what was lost (ReplayedSession) ---

  // Nothing is asked, owed or open: what comes next begins something new.
  bool at_rest() const;
  // Null ends it. Precondition: at_rest(). The mark outlives its use here.
  void keep_mark(SessionMark* mark);
  // Goes back to the mark, which stays. The backend must have been left before (part(), or it is
  // lost); what the client was told of the server's parameters stays as well.
  void rewind();
  // The client is told that what it waits for has failed. `statements`: the names that it knows
  // (see statements()); precondition: rewind() before.
  void give_up(const OpenRequests& open, const wire::ErrorReport& report,
               std::unique_ptr<ClientStatements> statements, Output& out);
  // What can be said about what was sent to the backend, were it lost now. Precondition:
  // attached().
  retry::LostWork lost_work() const;
  bool may_have_committed() const { return may_have_committed_; }  // as lost_work() says
  // Whether it was sent in an explicit transaction. Precondition: attached().
  bool in_transaction() const;
  // The names that are settled: what of them stands whatever becomes of the transaction.
  std::unique_ptr<ClientStatements> settled_statements() const;
  // The text that was prepared under this name; null when there is none that is known.
  const PreparedStatement* statement(std::string_view name) const;
  // With a mark, a loss that the session itself finds (a FATAL, a stream out of step) is not told
  // to the client at once: here is the cause, and on_backend_lost is still to be called, or
  // part() and rewind(). Null when there is none.
  const std::string* found_loss() const { return found_loss_.get(); }
  bool has_found_loss() const { return found_loss_ != nullptr; }
  // Whether it ends at its next transaction boundary. A session that is being run again does not
  // end half-way; rewind() takes it back.
  bool draining() const { return draining_; }
  // With a mark that says so, a COMMIT on its own stops in front of the backend until it is decided
  // whether a row goes with it, in the same send (tokens.cpp); then on_client is to be called
  // again. It does not stop where the outcome would not be enough to go on: with requests under
  // way, or session state that COMMIT changes.
  bool wants_token() const {
    return token_ != nullptr && token_->stage == CommitToken::Stage::wanted;
  }
  // wants_token(): it is for a write outside of a transaction, a simple Query.
  bool wants_token_alone() const { return wants_token() && token_->alone; }
  // The server is asked whether it has a place for such rows (retry::token_question); it stops
  // again when the answer is there. Precondition, as for decide_token: wants_token().
  void ask_about_tokens(std::string_view question, Output& out);
  // The answer, once.
  std::optional<bool> take_tokens_answer();
  // `insert`: SQL; empty: it goes alone.
  void decide_token(std::string insert);
  // A row has gone with the COMMIT that is not answered yet.
  bool token_sent() const {
    return token_ != nullptr && token_->stage == CommitToken::Stage::sent && !token_->refused;
  }
  // ... and not with a COMMIT, but with a write outside of a transaction.
  bool token_sent_alone() const { return token_sent() && token_->alone; }
  // The row could not be written, and so nothing was committed: a found loss.
  bool token_refused() const { return token_ != nullptr && token_->refused; }
  // ... for a reason that is not the row's: the next one may be written.
  bool token_refused_otherwise() const { return token_refused() && token_->otherwise; }
  // `held`: what the server has said to the COMMIT already, and the client was not told.
  // Precondition: token_sent().
  CommittedState presume_committed(std::string_view held) const;
  // What was presumed is true. Precondition: rewind() before.
  void adopt_committed(CommittedState state, Output& out);

  // In the last step, the server has refused to run a prepared statement because its result is not
  // any more what it was when somebody prepared it; this client was never told what it was. Run
  // once more, behind rewind(), it is prepared anew.
  bool met_outdated() const { return met_outdated_; }

  bool streams_to_client() const { return server_stream_left_ > 0 && !server_stream_own_; }
  const ReportedPtr& told() const { return told_; }
  const SessionConfig& config() const { return context_->config; }

  SessionState state() const { return state_; }
  bool attached() const { return backend_ != nullptr; }
  // Whether the backend works for this client at the moment, so that a cancel has a target.
  bool busy() const { return backend_ != nullptr && backend_->replies.requests_owed() > 0; }
  // The transaction status that the client believes in.
  wire::TxStatus client_status() const;
  // Bits of sql::Effect that bind this session to its backend.
  std::uint32_t pins() const { return pins_; }
  // How many bytes of one message on_client or on_server waits for; 0 when any number helps.
  std::size_t client_bytes_wanted() const { return client_wanted_; }
  std::size_t server_bytes_wanted() const { return server_wanted_; }
  const SettingsPtr& wanted_settings() const { return wanted_; }
  // Prepared statements that the client has.
  std::size_t prepared_statements() const {
    return (statements_ ? statements_->size() : 0) +
           (sql_statements() ? sql_statements()->size() : 0);
  }
  // Those of SQL's PREPARE that are carried.
  const SqlStatementsPtr& sql_statements() const;
  // What an EXECUTE of this name runs; empty when that is not known.
  std::string_view sql_statement(std::string_view name) const {
    const SqlStatement* known = sql_statements() ? sql_statements()->find(name) : nullptr;
    return known != nullptr ? std::string_view(known->text) : std::string_view();
  }
  // Whether something can be said to the client: not in the middle of one message.
  bool between_messages() const { return server_stream_left_ == 0; }
  const Backend* backend() const { return backend_; }

 private:
  // Portals of special statements, and what will be refused.
  struct Specials {
    std::vector<std::pair<std::string, SpecialPtr>> portals;
    // For replies that are marked as refused, in their order: the name of the prepared statement
    // that does not exist, or returns something else than was told; empty when the transaction has
    // failed.
    Fifo<std::string> refused;
  };

  // The row that goes with a COMMIT: see wants_token().
  struct CommitToken {
    enum class Stage : std::uint8_t { none, wanted, asking, decided, sent };
    Stage stage = Stage::none;
    bool refused = false;
    bool otherwise = false;      // refused: not for what the row is
    bool alone = false;          // it goes with a write outside of a transaction, not with a COMMIT
    bool whole = true;           // sent: nothing is asked for but the COMMIT
    bool executed = false;       // sent: by the extended protocol, too
    std::optional<bool> answer;  // to the question
    std::string insert;
  };

  enum class Sent : std::uint8_t {
    nothing,
    begin,  // nothing but BEGIN
    work,
  };

  // Whether what binds the session is still there: see pins.cpp.
  struct PinsQuestion {
    bool refused = false;    // the server does not understand it
    bool wanted = false;     // at the next rest
    bool asked = false;      // and not answered yet
    std::uint32_t gone = 0;  // of pins_, as far as it has been answered
  };

  // session.cpp, rewinding.cpp: life cycle
  Next begin_sync(Output& out);
  Next finish_sync(Output& out);
  Next finish_attach(Output& out);
  void send_welcome(Output& out);
  Next release();
  bool can_release() const;
  void note_temporary_objects(Backend& left) const;
  Next fail_request(const wire::ErrorReport& report, Output& out);
  Next fatal(const wire::ErrorReport& report, Output& out);
  static wire::ErrorReport session_lost_report(std::string_view cause);
  void answer_open(std::size_t owed, bool unsynced, bool error_told,
                   const wire::ErrorReport& report, Output& out);
  Next protocol_violation(std::string_view what, Output& out);
  void set_told(ReportedPtr reported);
  Next on_quiet(Output& out);

  // pins.cpp: what binds the session
  void pin(std::uint32_t effects, Output& out);
  bool ask_about_pins(Output& out);
  void hear_about_pins(std::string_view message);
  void settle_pins();

  // tokens.cpp: the row that goes with a COMMIT
  bool stops_for_token(bool alone, bool& consumed);
  bool may_carry_token(bool alone) const;
  bool writes_alone(const sql::Statement& statement, std::string_view text) const;
  bool binds_commit(const wire::Frame& frame) const;
  std::string take_token();
  void send_for_token(std::string_view sql, Output& out);
  void add_token(std::string_view text, std::string& instead, Reply& reply);
  void send_token_ahead(Output& out);
  void note_behind_token(const wire::Frame& frame);
  bool is_token_error(const wire::ErrorFields& fields);
  void hear_about_tokens(const wire::Frame& frame);
  bool waits_for_token() const;

  // client_messages.cpp: from the client
  Next on_client_frame(const wire::Frame& frame, Output& out, bool& consumed);
  Next on_client_partial(const wire::FrameView& view, std::string_view& in, Output& out,
                         bool& progressed);
  Next on_query(const wire::Frame& frame, Output& out, bool& consumed);
  Next on_function_call(const wire::Frame& frame, Output& out, bool& consumed);
  Next on_copy_message(const wire::Frame& frame, Output& out);
  Next need_backend(bool& consumed);
  sql::Statement recognize(std::string_view text) const;
  void deallocate_locally(const std::string& name, Output& out);
  void note_statement(const sql::Statement& statement, Output& out);
  void track_changes(const sql::Statement& statement, sql::Effects& effects);
  void send_change(SettingChange change);
  std::uint64_t next_request() const;
  void note_sent(sql::Effects effects);
  void drop_unnamed();
  void save_unnamed();
  ClientStatements& statements();
  std::uint64_t substitute_reset(const sql::Statement& statement, std::string& sql) const;
  void flush_deferred_begin(bool simple_follows, Output& out);
  bool waits_for_answer() const;
  void forward(std::string_view bytes, Output& out) { out.to_server.add(bytes); }
  void push(ReplyKind kind, bool own = false, std::uint64_t tag = 0);
  void push(const Reply& reply) { backend_->replies.push(reply); }

  // carried_statements.cpp: PREPARE, EXECUTE and DEALLOCATE of SQL
  bool carries(std::string_view name) const;
  void follow_sql(sql::Statement& statement, std::string_view text, Output& out);
  void follow_prepare(const std::string& name, std::string_view text, Output& out);
  bool follow_executed(const SpecialStatement& special, Output& out);
  std::string statement_meaning(std::string_view text) const;
  void free_name(std::string_view name, Output& out);
  void await_sql(SqlChange::Kind kind, std::string_view name);
  void settle_sql(std::uint64_t request, bool failed, Output& out);
  void make_sql_change(Output& out);
  void bind_sql_statements();
  void forget_sql_statements();
  void send_sql_statements(Output& out);

  // stand_in.cpp: what DWS does not do, done in its place
  std::optional<Next> stand_in(const sql::Statement& statement, Output& out);
  Next discard_all(Output& out);
  bool set_read_only(const sql::Statement& statement, Output& out);
  std::optional<Next> guard_read_only(const sql::Statement& statement, Output& out);
  void adopt_dialect();
  void guard_bind(sql::Effects effects, Output& out);
  void guard_execute(Output& out);
  void open_read_only_block(Output& out);
  void close_read_only_block(wire::TxStatus status, Output& out);
  void send_own_statement(std::string_view sql, bool begin, Output& out);
  void refuse_query(std::string_view message, std::string_view hint, Output& out);

  // extended_messages.cpp: Parse, Bind, Describe, Execute, Close, Sync
  Next on_extended(const wire::Frame& frame, Output& out, bool& consumed);
  void on_parse(const wire::Frame& frame, Output& out);
  void parse_named(const wire::Frame& frame, const wire::ParseMessage& message, Output& out);
  void on_bind(std::string_view bytes, std::size_t total, Output& out);
  void on_describe(const wire::Frame& frame, Output& out);
  void on_execute(const wire::Frame& frame, Output& out);
  void execute_deallocate(const wire::Frame& frame, const std::string& name, Output& out);
  void note_portal(std::string_view portal, const SpecialPtr& special);
  void parse_to_be_refused(const wire::ParseMessage& message, const PreparedPtr& statement,
                           Output& out);
  void note_effects(sql::Effects effects, Output& out);
  bool execute_special(const SpecialStatement& special, Output& out);
  void close_on_server(const PreparedStatement& statement, bool own, bool named, Output& out);
  std::string_view refuse(std::string_view name, Reply& reply);
  bool is_last_user(const PreparedPtr& statement) const;
  bool in_failed_transaction() const;
  bool is_sql_level(const SpecialPtr& special) const;
  std::string statement_scope() const;
  std::string shared_scope() const;
  void on_close(const wire::Frame& frame, Output& out);
  void close_named(std::string_view name, Output& out);
  void on_sync(const wire::Frame& frame, Output& out);
  std::string_view provide_statement(std::string_view name, Output& out);
  void renew_outdated(std::string_view name, Output& out);
  bool breaks_promise(std::string_view name) const;
  void provide_unnamed(Output& out);
  void limit_statements(Output& out);
  Next on_extended_locally(const wire::Frame& frame, Output& out, bool& consumed);

  // local_replies.cpp: answers without a backend
  bool answer_query_locally(const wire::Frame& frame, const sql::Statement& statement, Output& out);
  Next refuse_block(Output& out);
  bool answer_in_lost_transaction(const sql::Statement& statement, Output& out);
  bool ends_transaction(std::string_view text) const;
  bool ends_by_name(const wire::Frame& frame) const;
  bool keep_statement(const wire::ParseMessage& message);
  bool close_locally(const wire::Frame& frame);
  void flush_local_replies(Output& out);
  void send_ready(wire::TxStatus status, Output& out);
  void send_error(const wire::ErrorReport& report, Output& out);
  void send_complete(std::string_view tag, Output& out);

  // server_messages.cpp: from the backend
  Next on_server_frame(const wire::Frame& frame, Output& out);
  Next find_loss(std::string_view cause, Output& out);
  Next on_ready_for_query(const wire::Frame& frame, Output& out);
  Next on_parameter_status(const wire::Frame& frame, Output& out);
  void watch_command(std::string_view tag);
  void pass_command_complete(const wire::Frame& frame, Output& out);
  void settle(const Reply& reply, Output& out);
  void on_transaction_end();
  void carry_reported(const std::vector<SettingChange>& followed);
  void carry_changes(const std::vector<SettingChange>& changes);
  void bind_settings();
  void forget_statements();

  // server_errors.cpp: an ErrorResponse
  Next on_error_response(const wire::Frame& frame, Output& out);
  void pass_error(const wire::Frame& frame, const wire::ErrorFields& fields, Output& out);
  void note_outdated(const Reply& reply, const wire::ErrorFields& fields);
  std::uint32_t drop_replies(Output& out);

  SessionContext* context_;
  std::uint64_t number_;
  SettingsPtr startup_;  // what RESET goes back to
  SettingsPtr wanted_;   // what a backend must have for this session
  ReportedPtr told_;     // what the client knows of the server's parameters
  Backend* backend_ = nullptr;
  wire::KeyData key_;

  SessionState state_ = SessionState::starting;
  bool draining_ = false;
  std::string_view drain_reason_;
  bool escapes_standard_ = true;  // standard_conforming_strings
  bool encoding_safe_ = true;
  bool lost_transaction_ = false;    // the client's transaction is gone; 25P02 until ROLLBACK
  bool skip_to_sync_ = false;        // an error was answered without a backend
  bool local_rollback_ = false;      // a ROLLBACK was parsed without a backend
  bool request_failed_ = false;      // an ErrorResponse was sent for the present request
  bool begin_sent_ = false;          // the deferred BEGIN went out with the present request
  bool begin_failed_ = false;        // ... and was refused by the server
  bool may_have_committed_ = false;  // something that can commit was sent in this transaction
  bool chained_ = false;             // ... and perhaps did, since a transaction is open again
  bool may_commit_by_name_ = false;  // a prepared statement that is not followed can do so
  Sent sent_ = Sent::nothing;        // since the last transaction boundary
  bool met_outdated_ = false;        // see met_outdated()
  bool session_ended_ = false;       // session state is lost: 57P01 at the next message
  bool watch_tags_ = false;
  bool discarded_ = false;   // DISCARD ALL was done in the present request
  bool ready_held_ = false;  // its ReadyForQuery waits for the start-up settings
  ReadOnly read_only_;
  PinsQuestion pins_question_;
  bool server_stream_own_ = false;
  bool client_stream_dropped_ = false;
  std::uint16_t sync_pending_ = 0;
  std::uint8_t lost_while_syncing_ = 0;
  std::uint32_t pins_ = 0;
  std::uint32_t unpins_ = 0;              // taken back when the request succeeds ...
  std::uint64_t unpin_request_ = 0;       // ... that has this number
  std::uint64_t may_commit_request_ = 0;  // the last request that can
  std::uint64_t discard_request_ = 0;     // the last request with DISCARD ALL in it
  std::uint64_t last_pin_ = 0;            // the request that added to pins_ last
  std::uint32_t unnamed_serial_ = 0;
  std::size_t client_stream_left_ = 0;  // of a large message that is being passed on
  std::size_t server_stream_left_ = 0;
  std::size_t client_wanted_ = 0;
  std::size_t server_wanted_ = 0;
  std::string deferred_begin_;  // its SQL; empty when none is held back
  std::string unnamed_;         // the last unnamed Parse, whole; empty when there is none
  SpecialPtr unnamed_special_;  // what it does to this session
  sql::Effects unnamed_effects_;
  ReportedPtr reported_mark_;  // the backend's report when this session's changes began
  std::unique_ptr<wire::ErrorReport> failure_;  // answers the next request
  SessionMark* mark_ = nullptr;
  std::unique_ptr<std::string> found_loss_;
  std::unique_ptr<CommitToken> token_;
  std::unique_ptr<ClientStatements> statements_;
  std::vector<SqlChange> sql_changes_;  // in the order in which they were sent
  std::vector<SqlStep> sync_steps_;     // the last of what is pending
  std::unique_ptr<SettingChanges> setting_changes_;
  std::unique_ptr<Specials> specials_;
};

}  // namespace dwspool::session
