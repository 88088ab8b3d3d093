// The extended protocol: Parse, Bind, Describe, Execute, Close, Flush and Sync.
#include "dwspool/sql/quote.h"
#include "dwspool/wire/writer.h"

#include "dwspool/session/session.h"

namespace dwspool::session {
namespace {
namespace fe = wire::frontend;
// A name that no statement and no portal has.
constexpr std::string_view nobody = "dwspool nobody";
}  // namespace

Next Session::on_extended(const wire::Frame& frame, Output& out, bool& consumed) {
  if (backend_ == nullptr || skip_to_sync_ || failure_ || lost_transaction_ || local_rollback_) {
    return on_extended_locally(frame, out, consumed);
  }
  ReplyTracker& replies = backend_->replies;
  if (frame.type == fe::sync) {
    on_sync(frame, out);
    return Next::need_input;
  }
  if (frame.type == fe::flush) {
    if (replies.unsynced()) forward(frame.bytes, out);
    return Next::need_input;
  }
  if (replies.skipping()) return Next::need_input;  // the server would ignore it
  if (frame.type == fe::bind && mark_ != nullptr && mark_->tokens && binds_commit(frame) &&
      stops_for_token(false, consumed)) {
    return Next::need_input;
  }
  flush_deferred_begin(false, out);
  if (replies.copy_in()) {  // against the protocol: the server says so
    sent_ = Sent::work;
    push(ReplyKind::execute);
    forward(frame.bytes, out);
    return Next::need_input;
  }
  const bool says_what = frame.type == fe::parse || frame.type == fe::bind;
  if (!says_what && sent_ == Sent::nothing) sent_ = Sent::work;
  if (token_) {
    note_behind_token(frame);
    if (frame.type == fe::bind) send_token_ahead(out);
  }
  switch (frame.type) {
    case fe::parse:
      on_parse(frame, out);
      break;
    case fe::bind:
      on_bind(frame.bytes, frame.bytes.size(), out);
      break;
    case fe::describe:
      on_describe(frame, out);
      break;
    case fe::close:
      on_close(frame, out);
      break;
    default:
      on_execute(frame, out);
      break;
  }
  return Next::need_input;
}

void Session::on_sync(const wire::Frame& frame, Output& out) {
  ReplyTracker& replies = backend_->replies;
  if (replies.quiet() && !deferred_begin_.empty()) {
    send_ready(client_status(), out);  // still nothing to begin
    return;
  }
  push(ReplyKind::sync);
  forward(frame.bytes, out);
}

void Session::on_parse(const wire::Frame& frame, Output& out) {
  const std::optional<wire::ParseMessage> message = wire::read_parse(frame.body());
  if (!message) {  // the server says what is wrong with it
    sent_ = Sent::work;
    push(ReplyKind::parse);
    forward(frame.bytes, out);
    return;
  }
  const bool carried = context_->config.mode != PoolMode::session;
  if (carried && !message->name.empty()) {
    parse_named(frame, *message, out);
    return;
  }
  sql::Statement seen = recognize(message->query);
  SpecialPtr special = special_of(seen, message->query);
  seen.effects = effects_of(seen, special);
  if (is_sql_level(special)) special.reset();
  seen.changes.clear();  // they are made when it is executed
  note_statement(seen, out);
  note_sent(seen.effects);
  if (message->name.empty()) {
    drop_unnamed();
    unnamed_special_ = special;
    unnamed_effects_ = seen.effects;
  } else if (seen.effects.has(sql::Effect::ends_transaction) ||
             seen.effects.has(sql::Effect::unclear)) {
    may_commit_by_name_ = true;
  }
  ++out.statements_parsed;
  push(ReplyKind::parse);
  const std::string_view text = substitute_for(message->query, special);
  if (!carried || in_failed_transaction() || text == message->query) {
    if (carried) unnamed_.assign(frame.bytes);
    forward(frame.bytes, out);
  } else {
    wire::append_parse(unnamed_, "", text, message->types);
    out.to_server.copy(unnamed_);
  }
  if (carried) backend_->unnamed = {number_, ++unnamed_serial_};
}

// DEALLOCATE of what was, or may have been, prepared by PREPARE: the server's business.
bool Session::is_sql_level(const SpecialPtr& special) const {
  if (!special || special->kind != sql::StatementKind::deallocate) return false;
  if (context_->config.mode == PoolMode::session) return true;
  if (statements_ && statements_->find(special->name) != nullptr) return false;
  return !backend_->statements.holds_name(special->name) &&
         (context_->config.mode != PoolMode::automatic ||
          (pins_ & bit(sql::Effect::prepares)) != 0);
}

// Known for sure, so that a Parse of anything but the transaction's end will be refused: false when
// what is on its way may have ended it.
bool Session::in_failed_transaction() const {
  return backend_->status == wire::TxStatus::failed && backend_->replies.requests_owed() == 0 &&
         !may_have_committed_;
}

// What tells this session's statements from others of the same text.
std::string Session::statement_scope() const {
  if (backend_->reported != reported_mark_ || (setting_changes_ && setting_changes_->watches())) {
    // Settings that hold in this transaction, for now: no other session is like this one.
    return "session " + std::to_string(number_) + '/' + std::to_string(next_request());
  }
  if (pins_ != 0 && mark_ == nullptr) {
    // What another client has prepared may be outdated by now, and nothing is run again here.
    return "bound session " + std::to_string(number_) + '/' + std::to_string(next_request());
  }
  return shared_scope();
}

// ... and from those of sessions in which the same text has other effects.
std::string Session::shared_scope() const {
  std::string scope;
  if (context_->config.mode != PoolMode::automatic) scope = "names do not matter\n";
  if (context_->config.pin_on) scope = "names " + context_->config.pin_on->key() + '\n';
  if (!wanted_->empty()) scope += session::statement_scope(*wanted_);
  // What EXECUTE returns depends on what is executed.
  if (sql_statements()) scope.append("session ").append(std::to_string(number_)).append(1, '\n');
  return scope;
}

void Session::parse_named(const wire::Frame& frame, const wire::ParseMessage& message,
                          Output& out) {
  const PreparedPtr statement =
      context_->statements.intern(statement_scope(), message.query, message.types,
                                  [this](std::string_view query) { return recognize(query); });
  note_effects(statement->effects, out);
  note_sent(statement->effects);
  const bool failed =
      in_failed_transaction() && !statement->effects.has(sql::Effect::ends_transaction);
  if (statements_ && statements_->find(message.name) != nullptr) {
    // The name is taken. The server itself shall say so, in the place where the error belongs.
    parse_to_be_refused(message, statement, out);
    return;
  }
  const BackendStatements::Held* held = backend_->statements.use(*statement);
  if (held != nullptr && failed) {
    // Nothing but the end of the transaction is understood now: the server shall say so.
    std::string bytes;
    wire::append_parse(bytes, held->name, statement->query, message.types);
    out.to_server.copy(bytes);
    backend_->statements.expect_refusal(statement, held->name);
    push(ReplyKind::parse, false, statement->id);
    return;
  }
  statements().set(message.name, statement);
  if (held != nullptr) {
    ++out.statements_reused;
    push({.kind = ReplyKind::local_parse_complete, .named = true});
    flush_local_replies(out);
    return;
  }
  ++out.statements_parsed;
  const std::string& name = backend_->statements.add(statement, message.name).name;
  push({.kind = ReplyKind::parse, .named = true, .tag = statement->id});
  if (name == message.name && (failed || statement->query == message.query)) {
    forward(frame.bytes, out);
  } else {
    std::string bytes;
    wire::append_parse(bytes, name, failed ? message.query : std::string_view(statement->query),
                       message.types);
    out.to_server.copy(bytes);
  }
  limit_statements(out);
}

void Session::parse_to_be_refused(const wire::ParseMessage& message, const PreparedPtr& statement,
                                  Output& out) {
  const std::string name(provide_statement(message.name, out));
  std::string bytes;
  wire::append_parse(bytes, name, statement->query, message.types);
  out.to_server.copy(bytes);
  backend_->statements.expect_refusal(statement, name);
  statements().set_if_free(message.name, statement);
  push({.kind = ReplyKind::parse, .named = true, .tag = statement->id});
}

// What a statement does to the session besides changing plain settings.
void Session::note_effects(sql::Effects effects, Output& out) {
  if (!effects.any()) return;
  sql::Statement seen = sql::Statement::unread();
  seen.effects = effects;
  note_statement(seen, out);
}

// Makes the backend hold the client's statement `name` and answers its name there. Empty when
// there is no such statement, but the server has one of another client by that name.
std::string_view Session::provide_statement(std::string_view name, Output& out) {
  const PreparedPtr* known = statements_ ? statements_->find(name) : nullptr;
  if (known == nullptr) {
    return backend_->statements.holds_name(name) ? std::string_view{} : name;
  }
  renew_outdated(name, out);
  if (const BackendStatements::Held* held = backend_->statements.use(**known)) return held->name;
  const BackendStatements::Held& held = backend_->statements.add(*known, name);
  std::string bytes;
  wire::append_parse(bytes, held.name, (*known)->query, (*known)->types);
  out.to_server.copy(bytes);
  push(ReplyKind::parse, true, (*known)->id);
  ++out.statements_parsed;
  limit_statements(out);
  return held.name;
}

// Prepared now it would not be outdated, and nobody has told this client what it was before.
void Session::renew_outdated(std::string_view name, Output& out) {
  const PreparedPtr outdated = *statements_->find(name);
  if (!outdated->outdated || outdated->special || statements_->is_described(*outdated)) return;
  if (backend_->statements.is_confirmed(*outdated)) close_on_server(*outdated, true, false, out);
  statements_->replace(name, context_->statements.renew(*outdated));
}

// Prepared anew on this backend it would return something else than the client was told, where a
// direct connection would say 0A000.
bool Session::breaks_promise(std::string_view name) const {
  const PreparedPtr* known = statements_ ? statements_->find(name) : nullptr;
  return known != nullptr && (*known)->outdated && statements_->is_described(**known) &&
         !backend_->statements.holds(**known);
}

// Makes the backend's unnamed statement this session's.
void Session::provide_unnamed(Output& out) {
  const UnnamedStatement mine{number_, unnamed_serial_};
  if (unnamed_.empty()) {
    if (backend_->unnamed.session != 0 && backend_->unnamed.session != number_) {
      // What is there is somebody else's: to this client there is none.
      std::string bytes;
      wire::append_close(bytes, 'S', "");
      out.to_server.copy(bytes);
      push(ReplyKind::close, true);
      backend_->unnamed = {};
    }
    return;
  }
  if (backend_->unnamed == mine) return;
  out.to_server.copy(unnamed_);
  push(ReplyKind::parse, true);
  backend_->unnamed = mine;
}

// `bytes` is the message, or its front with both names in it; `total` is its whole size.
void Session::on_bind(std::string_view bytes, std::size_t total, Output& out) {
  ++out.binds;
  const std::string_view body = bytes.substr(wire::header_size);
  const std::optional<wire::BindPrefix> prefix = wire::read_bind_prefix(body);
  if (!prefix || context_->config.mode == PoolMode::session) {
    // Named statements are not followed here; one of them may be a COMMIT.
    sql::Effects effects = unnamed_effects_;
    if (prefix && !prefix->statement.empty()) effects = {};
    if (read_only_.on) guard_bind(effects, out);
    if (may_commit_by_name_) effects.add(sql::Effect::ends_transaction);
    note_sent(effects);
    note_effects(effects, out);
    if (prefix) note_portal(prefix->portal, prefix->statement.empty() ? unnamed_special_ : nullptr);
    push(ReplyKind::bind);
    forward(bytes, out);
    return;
  }
  std::string_view name = prefix->statement;
  const PreparedPtr* known = nullptr;
  if (name.empty()) {
    if (read_only_.on) guard_bind(unnamed_effects_, out);
    note_effects(unnamed_effects_, out);
    note_sent(unnamed_effects_);
    provide_unnamed(out);
    note_portal(prefix->portal, unnamed_special_);
  } else {
    known = statements_ ? statements_->find(name) : nullptr;
    if (read_only_.on) guard_bind(known != nullptr ? (*known)->effects : sql::Effects{}, out);
    note_sent(known != nullptr ? (*known)->effects : sql::Effects{});
    // What the statement does to the session it does at every execution.
    if (known != nullptr) note_effects((*known)->effects, out);
    note_portal(prefix->portal, known != nullptr ? (*known)->special : nullptr);
    name = breaks_promise(name) ? std::string_view{} : provide_statement(name, out);
  }
  Reply reply{.kind = ReplyKind::bind};
  if (known != nullptr) reply.tag = (*known)->id;
  if (name.empty() && !prefix->statement.empty()) name = refuse(prefix->statement, reply);
  push(reply);
  if (name == prefix->statement) {
    forward(bytes, out);
    return;
  }
  // Only the front is written anew; the parameters are sent from where they lie.
  std::string front(1, fe::bind);
  const std::size_t length = total - 1 - prefix->statement.size() + name.size();
  wire::append_u32(front, static_cast<std::uint32_t>(length));
  front.append(prefix->portal).append(1, '\0').append(name).append(1, '\0');
  out.to_server.copy(front);
  out.to_server.add(body.substr(prefix->prefix_size));
}

// The message goes out with a name that nobody has, so that the server refuses it, with the
// transaction that it may be in; the error is worded here.
std::string_view Session::refuse(std::string_view name, Reply& reply) {
  if (!specials_) specials_ = std::make_unique<Specials>();
  specials_->refused.push(std::string(name));
  reply.refused = true;
  return nobody;
}

void Session::note_portal(std::string_view portal, const SpecialPtr& special) {
  if (!special && !specials_) return;
  if (!specials_) specials_ = std::make_unique<Specials>();
  auto& portals = specials_->portals;
  std::erase_if(portals, [&](const auto& entry) { return entry.first == portal; });
  if (special) portals.emplace_back(portal, special);
}

void Session::on_execute(const wire::Frame& frame, Output& out) {
  SpecialPtr special;
  if (specials_ && !specials_->portals.empty()) {
    const std::string_view body = frame.body();
    const std::string_view portal = body.substr(0, body.find('\0'));
    for (const auto& [name, what] : specials_->portals) {
      if (name == portal) special = what;
    }
  }
  if (special && special->kind == sql::StatementKind::deallocate) {
    execute_deallocate(frame, special->name, out);
    return;
  }
  const bool changes_sql = special && execute_special(*special, out);
  push(ReplyKind::execute, false, changes_sql ? ExecuteFix::changes_sql : 0);
  forward(frame.bytes, out);
  if (read_only_.begin_bound) guard_execute(out);
}

// Whether a SqlChange is awaited now.
bool Session::execute_special(const SpecialStatement& special, Output& out) {
  using Kind = SettingChange::Kind;
  if (special.kind == sql::StatementKind::prepare || special.kind == sql::StatementKind::execute) {
    return follow_executed(special, out);
  }
  if (special.kind == sql::StatementKind::reset_all) {
    send_change({Kind::reset_all_raw, {}, {}});
  } else if (special.kind == sql::StatementKind::reset) {
    send_change({Kind::reset_raw, special.name, {}});
  } else if (!server_tells(*backend_->reported, special.name)) {
    send_change({Kind::set, special.name, special.value});
  }
  return false;
}

// DEALLOCATE name: the server has got an empty statement in its place (see substitute_for).
void Session::execute_deallocate(const wire::Frame& frame, const std::string& name, Output& out) {
  const PreparedPtr* known = statements_ ? statements_->find(name) : nullptr;
  if (known == nullptr && carries(name) && !in_failed_transaction()) {
    await_sql(SqlChange::Kind::deallocate, name);
    push({.kind = ReplyKind::execute, .tag = ExecuteFix::deallocates | ExecuteFix::changes_sql});
    forward(frame.bytes, out);
    send_own_statement("DEALLOCATE " + sql::quote_identifier(name), false, out);
    return;
  }
  if (known == nullptr || in_failed_transaction()) {
    Reply reply{.kind = ReplyKind::execute};
    std::string bytes;
    wire::append_execute(bytes, refuse(known == nullptr ? std::string_view(name) : "", reply));
    push(reply);
    out.to_server.copy(bytes);
    return;
  }
  const PreparedPtr statement = *known;
  statements_->erase(name);
  if (is_last_user(statement)) close_on_server(*statement, true, false, out);
  push({.kind = ReplyKind::execute, .named = true, .tag = ExecuteFix::deallocates});
  forward(frame.bytes, out);
}

void Session::on_describe(const wire::Frame& frame, Output& out) {
  const std::optional<wire::TargetMessage> target = wire::read_target(frame.body());
  Reply reply{.kind = ReplyKind::describe};
  if (target && target->kind == 'S' && context_->config.mode != PoolMode::session) {
    if (target->name.empty()) {
      provide_unnamed(out);
    } else {
      std::string_view name;
      if (!breaks_promise(target->name)) name = provide_statement(target->name, out);
      if (name.empty()) name = refuse(target->name, reply);
      if (const PreparedPtr* known = statements_ ? statements_->find(target->name) : nullptr) {
        reply.tag = (*known)->id;
      }
      if (name != target->name) {
        std::string bytes;
        wire::MessageWriter(bytes, fe::describe).u8('S').cstring(name).end();
        push(reply);
        out.to_server.copy(bytes);
        return;
      }
    }
  }
  push(reply);
  forward(frame.bytes, out);
}

void Session::on_close(const wire::Frame& frame, Output& out) {
  const std::optional<wire::TargetMessage> target = wire::read_target(frame.body());
  if (target && target->kind == 'S' && context_->config.mode != PoolMode::session) {
    if (target->name.empty()) {
      drop_unnamed();
    } else {
      close_named(target->name, out);
      return;
    }
  }
  push(ReplyKind::close);
  forward(frame.bytes, out);
}

// Others may use the statement, on this backend or on another: then only the client's name for it
// goes, and the backend drops it when it holds too many. A statement of this client's alone goes
// for good.
void Session::close_named(std::string_view name, Output& out) {
  const PreparedPtr* known = statements_ ? statements_->find(name) : nullptr;
  if (known == nullptr) {
    push(ReplyKind::local_close_complete);
    flush_local_replies(out);
    return;
  }
  const PreparedPtr statement = *known;
  statements_->erase(name);
  if (is_last_user(statement)) {
    close_on_server(*statement, false, true, out);
    return;
  }
  push({.kind = ReplyKind::local_close_complete, .named = true});
  flush_local_replies(out);
}

// Whether nobody has the statement but this backend and the client that has just dropped it.
bool Session::is_last_user(const PreparedPtr& statement) const {
  constexpr long holders = 3;  // the caller, the backend, the record of the client's change
  return backend_->statements.is_confirmed(*statement) && statement.use_count() == holders;
}

void Session::close_on_server(const PreparedStatement& statement, bool own, bool named,
                              Output& out) {
  std::string bytes;
  wire::append_close(bytes, 'S', backend_->statements.remove(statement));
  out.to_server.copy(bytes);
  push({.kind = ReplyKind::close, .own = own, .named = named, .tag = statement.id});
}

void Session::limit_statements(Output& out) {
  while (true) {
    const std::string name =
        backend_->statements.remove_surplus(context_->config.max_prepared_statements);
    if (name.empty()) return;
    std::string bytes;
    wire::append_close(bytes, 'S', name);
    out.to_server.copy(bytes);
    push({.kind = ReplyKind::close, .own = true, .tag = 1});
  }
}

}  // namespace dwspool::session
