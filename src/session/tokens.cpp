// The row that goes with a COMMIT, so that its outcome can be found out when the answer is lost
// (retry/commit_token.h). Whether there shall be one is decided elsewhere; here is how it travels.
//
// A simple Query gets the INSERT in front, in the same text: the server runs COMMIT only if that
// has succeeded. A write outside of a transaction gets it behind, which makes both one transaction.
// In the extended protocol it goes in front of the Bind of the COMMIT, without a Sync, for the same
// reason. The client hears nothing of it.
#include <algorithm>
#include <array>
#include <utility>

#include "dwspool/sql/lexer.h"
#include "dwspool/wire/cursor.h"
#include "dwspool/wire/sqlstate.h"

#include "dwspool/session/session.h"

namespace dwspool::session {
namespace {

namespace be = wire::backend;
namespace fe = wire::frontend;

constexpr std::string_view token_statement = "dwspool_token";

// Errors under these classes are not the statement's own, where there are nodes behind a server:
// the commit may have got through all the same.
constexpr std::array<std::string_view, 8> cluster_classes = {"08", "53", "57", "58",
                                                             "CG", "F0", "XX", "YY"};

bool leaves_doubt(const wire::ErrorFields& fields) {
  if (fields.sqlstate == wire::sqlstate::query_canceled) return false;
  return fields.sqlstate.empty() ||
         std::any_of(cluster_classes.begin(), cluster_classes.end(),
                     [&](std::string_view each) { return fields.sqlstate.starts_with(each); });
}

bool only_names(const ReplyTracker& replies) {
  bool only = true;
  replies.for_each([&](const Reply& reply) {
    only = only && (reply.kind == ReplyKind::parse || reply.kind == ReplyKind::close ||
                    reply.kind == ReplyKind::local_parse_complete ||
                    reply.kind == ReplyKind::local_close_complete);
  });
  return only;
}

struct HeldAnswer {
  bool completed = false;
  bool failed = false;
};

HeldAnswer look_at(std::string_view held) {
  HeldAnswer found;
  while (!held.empty()) {
    const wire::FrameView view = wire::peek_frame(held);
    if (view.status != wire::FrameStatus::complete) {
      found.failed = true;  // nothing can be put behind it
      break;
    }
    const wire::Frame frame = wire::take_frame(held, view);
    found.completed = found.completed || frame.type == be::command_complete;
    found.failed = found.failed || frame.type == be::error_response;
  }
  return found;
}

}  // namespace

// --- Whether ------------------------------------------------------------------------------------

// The COMMIT is at the front of the client's input, and stays there if it is to wait.
bool Session::stops_for_token(bool alone, bool& consumed) {
  using Stage = CommitToken::Stage;
  if (mark_ == nullptr || !mark_->tokens) return false;
  if (!token_) token_ = std::make_unique<CommitToken>();
  if (token_->stage == Stage::none && may_carry_token(alone)) {
    token_->stage = Stage::wanted;
    token_->alone = alone;
  }
  if (token_->stage != Stage::wanted && token_->stage != Stage::asking) return false;
  consumed = false;
  return true;
}

// The transaction is surely open, nothing is under way that may fail or end it, and all that its
// COMMIT changes in the session is known beforehand. `alone`: there is none.
bool Session::may_carry_token(bool alone) const {
  const bool clear = backend_->replies.requests_owed() == 0 && !backend_->replies.copy_in() &&
                     !chained_ && !begin_sent_ && !lost_transaction_ && pins_ == 0 &&
                     !read_only_.on && read_only_.block == ReadOnly::Block::none;
  if (!clear) return false;
  if (alone) {
    return backend_->status == wire::TxStatus::idle && backend_->replies.empty() &&
           !backend_->replies.client_unsynced() && !backend_->replies.skipping();
  }
  return backend_->status == wire::TxStatus::in_transaction && only_names(backend_->replies) &&
         backend_->reported == reported_mark_;
}

// One statement of those that do nothing but write, outside of a transaction; a text of two
// statements is one transaction for the server. What else it may do is asked behind this.
bool Session::writes_alone(const sql::Statement& statement, std::string_view text) const {
  if (!statement.single || statement.kind != sql::StatementKind::other || statement.effects.any() ||
      !escapes_standard_ || !encoding_safe_ || backend_->status != wire::TxStatus::idle ||
      !deferred_begin_.empty()) {
    return false;
  }
  const sql::Token first = sql::Lexer(text, true).next();
  return first.is("insert") || first.is("update") || first.is("delete") || first.is("merge");
}

bool Session::binds_commit(const wire::Frame& frame) const {
  const std::optional<wire::BindPrefix> prefix = wire::read_bind_prefix(frame.body());
  if (!prefix) return false;
  std::optional<std::string_view> text;
  if (!prefix->statement.empty()) {
    const PreparedStatement* known = statement(prefix->statement);
    if (known != nullptr && known->effects.has(sql::Effect::ends_transaction)) text = known->query;
  } else if (unnamed_effects_.has(sql::Effect::ends_transaction) && !unnamed_.empty()) {
    const auto parsed = wire::read_parse(std::string_view(unnamed_).substr(wire::header_size));
    if (parsed) text = parsed->query;
  }
  return text && recognize(*text).is_only(sql::StatementKind::commit);
}

void Session::ask_about_tokens(std::string_view question, Output& out) {
  token_->stage = CommitToken::Stage::asking;
  token_->answer.reset();
  send_for_token(question, out);
  out.to_server.copy(std::string("H\0\0\0\4", 5));  // Flush
}

// As messages of the extended protocol without a Sync, under a name: what the client has parsed
// stays.
void Session::send_for_token(std::string_view sql, Output& out) {
  static constexpr std::string_view no_types("\0\0", 2);
  std::string bytes;
  wire::append_parse(bytes, token_statement, sql, no_types);
  wire::append_bind(bytes, token_statement);
  wire::append_execute(bytes);
  wire::append_close(bytes, 'S', token_statement);
  for (const ReplyKind kind :
       {ReplyKind::parse, ReplyKind::bind, ReplyKind::execute, ReplyKind::close}) {
    push(kind, true);
  }
  out.to_server.copy(bytes);
}

// A message of dwspool's own answers: a row, and in the end CloseComplete.
void Session::hear_about_tokens(const wire::Frame& frame) {
  if (token_->stage != CommitToken::Stage::asking) return;
  if (frame.type == be::close_complete) token_->stage = CommitToken::Stage::none;
  if (frame.type != be::data_row) return;
  wire::Cursor cursor(frame.body());
  const std::uint16_t columns = cursor.u16();
  const std::uint32_t size = cursor.u32();
  const std::string_view value = cursor.bytes(size);
  token_->answer = cursor.ok() && columns == 1 && value != "0";
}

std::optional<bool> Session::take_tokens_answer() {
  return std::exchange(token_->answer, std::nullopt);
}

void Session::decide_token(std::string insert) {
  token_->stage = CommitToken::Stage::decided;
  token_->insert = std::move(insert);
}

// Nothing goes out behind a COMMIT with a token before that is answered.
bool Session::waits_for_token() const {
  return token_->stage == CommitToken::Stage::asking ||
         (token_->stage == CommitToken::Stage::sent && backend_->replies.requests_owed() > 0);
}

// --- Sent ---------------------------------------------------------------------------------------

// Empty when nothing goes with what is sent now.
std::string Session::take_token() {
  if (!token_ || token_->stage != CommitToken::Stage::decided) return {};
  const bool with = !token_->insert.empty();
  token_->stage = with ? CommitToken::Stage::sent : CommitToken::Stage::none;
  token_->whole = true;
  token_->refused = token_->executed = false;
  return std::exchange(token_->insert, {});
}

void Session::add_token(std::string_view text, std::string& instead, Reply& reply) {
  const std::string insert = take_token();
  if (insert.empty()) return;
  if (token_->alone) {
    // Behind it, so that what the client hears of its text is as it would be without.
    instead.append(text).append("\n;").append(insert);
    reply.tag = QueryFix::token_behind;
    return;
  }
  instead.append(insert).append("\n;").append(text);
  reply.tag = QueryFix::token;
}

void Session::send_token_ahead(Output& out) {
  const std::string insert = take_token();
  if (!insert.empty()) send_for_token(insert, out);
}

// What can be said in the server's place is the answer to one COMMIT.
void Session::note_behind_token(const wire::Frame& frame) {
  if (token_->stage != CommitToken::Stage::sent) return;
  switch (frame.type) {
    case fe::execute:
      token_->whole = token_->whole && !token_->executed;
      token_->executed = true;
      break;
    case fe::describe: {
      const auto target = wire::read_target(frame.body());
      token_->whole = token_->whole && target && target->kind == 'P';
      break;
    }
    case fe::close:
      break;
    default:
      token_->whole = false;
      break;
  }
}

// Whether an ErrorResponse is none for the client: it is about the row; or it leaves open whether
// the COMMIT has succeeded, which the row can tell.
bool Session::is_token_error(const wire::ErrorFields& fields) {
  const ReplyTracker& replies = backend_->replies;
  if (replies.empty()) return false;
  if (token_->stage == CommitToken::Stage::asking) return replies.head_is_own();
  if (token_->stage != CommitToken::Stage::sent) return false;
  const Reply& head = replies.head();
  const bool behind = (head.tag & QueryFix::token_behind) != 0;
  const bool of_token = behind ? (head.tag & first_tag_seen) != 0 : head.tag == QueryFix::token;
  if (head.own || (head.kind == ReplyKind::query && of_token)) {
    // Behind a write, it may as well be the commit of both that has failed.
    if (behind && backend_->dialect != Dialect::postgres && leaves_doubt(fields)) return true;
    const bool of_row = !behind || fields.message.find("dwspool") != std::string_view::npos ||
                        fields.message.find("commit_token") != std::string_view::npos;
    token_->refused = true;
    token_->otherwise = fields.sqlstate == wire::sqlstate::query_canceled || !of_row;
    may_have_committed_ = false;  // the COMMIT behind it was skipped
    return true;
  }
  // What a coordinator says of a statement is weighed elsewhere (retry/refusal.h).
  return !token_->alone && backend_->dialect != Dialect::postgres && leaves_doubt(fields);
}

// --- Afterwards ---------------------------------------------------------------------------------

CommittedState Session::presume_committed(std::string_view held) const {
  CommittedState state;
  const HeldAnswer told = look_at(held);
  state.whole = token_->whole && !told.failed;
  state.answer = held;
  backend_->replies.for_each([&](const Reply& reply) {
    if (reply.own) return;
    switch (reply.kind) {
      case ReplyKind::query:
        if (token_->alone) {
          state.whole = state.whole && told.completed;  // else nobody knows how many rows
        } else if (!told.completed) {
          wire::append_command_complete(state.answer, "COMMIT");
        }
        wire::append_ready_for_query(state.answer, wire::TxStatus::idle);
        break;
      case ReplyKind::parse:
      case ReplyKind::local_parse_complete:
        wire::append_empty(state.answer, be::parse_complete);
        break;
      case ReplyKind::bind:
        wire::append_empty(state.answer, be::bind_complete);
        break;
      case ReplyKind::describe:
        wire::append_empty(state.answer, be::no_data);
        break;
      case ReplyKind::execute:
        wire::append_command_complete(state.answer, "COMMIT");
        break;
      case ReplyKind::close:
      case ReplyKind::local_close_complete:
        wire::append_empty(state.answer, be::close_complete);
        break;
      case ReplyKind::sync:
        wire::append_ready_for_query(state.answer, wire::TxStatus::idle);
        break;
      case ReplyKind::function:
      case ReplyKind::local_deallocate:
      case ReplyKind::copy_end:
        state.whole = false;
        break;
    }
  });
  state.whole = state.whole && backend_->replies.requests_owed() == 1;
  state.wanted = wanted_;
  if (setting_changes_) {
    SettingChanges changes = *setting_changes_;
    changes.on_tag("COMMIT", backend_->replies.requests_done() + 1);
    const SettingChanges::Ended ended = changes.on_transaction_end();
    Carried carried = carry(ended.changes, *startup_, *wanted_, *backend_->applied);
    state.whole = state.whole && !ended.unclear && !carried.unclear;
    state.wanted = context_->settings.intern(std::move(carried.wanted));
  }
  if (statements_) {
    state.statements = std::make_unique<ClientStatements>(*statements_);
    state.statements->keep_journal(nullptr);
    state.statements->settle_all();
  }
  state.unnamed = unnamed_;
  state.unnamed_special = unnamed_special_;
  state.unnamed_effects = unnamed_effects_;
  return state;
}

void Session::adopt_committed(CommittedState state, Output& out) {
  wanted_ = std::move(state.wanted);
  statements_ = std::move(state.statements);
  unnamed_ = std::move(state.unnamed);
  unnamed_special_ = std::move(state.unnamed_special);
  unnamed_effects_ = state.unnamed_effects;
  ++unnamed_serial_;  // no backend holds it for sure
  out.to_client.copy(state.answer);
  ++out.queries;
  ++out.transactions;
}

}  // namespace dwspool::session
