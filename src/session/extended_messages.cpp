// The extended protocol: Parse, Bind, Describe, Execute, Close, Flush and Sync.
#include "dwspool/wire/writer.h"

#include "dwspool/session/session.h"

namespace dwspool::session {
namespace {
namespace fe = wire::frontend;
}

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
  flush_deferred_begin(false, out);
  work_sent_ = true;
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
    default:  // Execute
      push(ReplyKind::execute);
      forward(frame.bytes, out);
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
    push(ReplyKind::parse);
    forward(frame.bytes, out);
    return;
  }
  const bool carried = context_->config.mode != PoolMode::session;
  if (carried && !message->name.empty()) {
    parse_named(frame, *message, out);
    return;
  }
  note_statement(recognize(message->query), false, out);
  if (carried) {
    unnamed_.assign(frame.bytes);
    backend_->unnamed = {number_, ++unnamed_serial_};
  }
  ++out.statements_parsed;
  push(ReplyKind::parse);
  forward(frame.bytes, out);
}

void Session::parse_named(const wire::Frame& frame, const wire::ParseMessage& message,
                          Output& out) {
  ReplyTracker& replies = backend_->replies;
  if (!statements_) statements_ = std::make_unique<ClientStatements>();
  if (statements_->find(message.name) != nullptr) {
    // The name is taken. The server itself shall say so, in the place where the error belongs.
    const std::string name(provide_statement(message.name, out));
    std::string bytes;
    wire::append_parse(bytes, name, message.query, message.types);
    out.to_server.copy(bytes);
    push(ReplyKind::parse, false, no_statement);
    return;
  }
  const PreparedPtr statement =
      context_->statements.intern(message.query, message.types, [this](std::string_view query) {
        const sql::Statement seen = recognize(query);
        sql::Effects effects = seen.effects;
        if (seen.kind == sql::StatementKind::set || seen.kind == sql::StatementKind::reset) {
          effects.add(sql::Effect::changes_setting);
        }
        return effects;
      });
  sql::Statement seen;
  seen.kind = sql::StatementKind::other;
  seen.effects = statement->effects;
  note_statement(seen, false, out);
  if (replies.skipping()) return;  // the server ignores it, and so does the client's name

  if (const BackendStatements::Held* held = backend_->statements.use(*statement)) {
    if (backend_->status == wire::TxStatus::failed &&
        !statement->effects.has(sql::Effect::ends_transaction)) {
      // Nothing but the end of the transaction is understood now: the server shall say so.
      std::string bytes;
      wire::append_parse(bytes, held->name, message.query, message.types);
      out.to_server.copy(bytes);
      push(ReplyKind::parse, false, no_statement);
      return;
    }
    statements_->set(message.name, statement);
    ++out.statements_reused;
    push(ReplyKind::local_parse_complete);
    flush_local_replies(out);
    return;
  }
  statements_->set(message.name, statement);
  ++out.statements_parsed;
  const BackendStatements::Held& held = backend_->statements.add(statement, message.name);
  if (!parse_names_) parse_names_ = std::make_unique<std::vector<std::string>>();
  parse_names_->emplace_back(message.name);
  push(ReplyKind::parse, false, statement->id);
  if (held.name == message.name) {
    forward(frame.bytes, out);
  } else {
    std::string bytes;
    wire::append_parse(bytes, held.name, message.query, message.types);
    out.to_server.copy(bytes);
  }
  limit_statements(out);
}

// Makes the backend hold the client's statement `name` and answers its name there. A name that
// the client has not prepared comes back as it is, so that the server can say so; should another
// client's statement hold it, as one that nobody holds.
std::string_view Session::provide_statement(std::string_view name, Output& out) {
  const PreparedPtr* known = statements_ ? statements_->find(name) : nullptr;
  if (known == nullptr) {
    if (!backend_->statements.holds_name(name)) return name;
    static constexpr std::string_view nobody = "dwspool_unknown_statement";
    return nobody;
  }
  if (const BackendStatements::Held* held = backend_->statements.use(**known)) return held->name;
  const BackendStatements::Held& held = backend_->statements.add(*known, name);
  if (backend_->replies.skipping()) {
    backend_->statements.erase((*known)->id);
    return name;
  }
  std::string bytes;
  wire::append_parse(bytes, held.name, (*known)->query, (*known)->types);
  out.to_server.copy(bytes);
  push(ReplyKind::parse, true, (*known)->id);
  ++out.statements_parsed;
  limit_statements(out);
  return held.name;
}

// Makes the backend's unnamed statement this session's.
void Session::provide_unnamed(Output& out) {
  const UnnamedStatement mine{number_, unnamed_serial_};
  if (backend_->replies.skipping()) return;
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
  const std::string_view body = bytes.substr(wire::header_size);
  const std::optional<wire::BindPrefix> prefix = wire::read_bind_prefix(body);
  if (!prefix || context_->config.mode == PoolMode::session) {
    push(ReplyKind::bind);
    forward(bytes, out);
    return;
  }
  std::string_view name = prefix->statement;
  if (name.empty()) {
    provide_unnamed(out);
  } else {
    if (statements_) {
      // What the statement does to the session it does at every execution.
      if (const PreparedPtr* known = statements_->find(name); known && (*known)->effects.any()) {
        sql::Statement seen;
        seen.kind = sql::StatementKind::other;
        seen.effects = (*known)->effects;
        note_statement(seen, false, out);
      }
    }
    name = provide_statement(name, out);
  }
  push(ReplyKind::bind);
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

void Session::on_describe(const wire::Frame& frame, Output& out) {
  const std::optional<wire::TargetMessage> target = wire::read_target(frame.body());
  if (target && target->kind == 'S' && context_->config.mode != PoolMode::session) {
    if (target->name.empty()) {
      provide_unnamed(out);
    } else {
      const std::string_view name = provide_statement(target->name, out);
      if (name != target->name) {
        std::string bytes;
        wire::MessageWriter(bytes, fe::describe).u8('S').cstring(name).end();
        push(ReplyKind::describe);
        out.to_server.copy(bytes);
        return;
      }
    }
  }
  push(ReplyKind::describe);
  forward(frame.bytes, out);
}

void Session::on_close(const wire::Frame& frame, Output& out) {
  const std::optional<wire::TargetMessage> target = wire::read_target(frame.body());
  if (target && target->kind == 'S' && context_->config.mode != PoolMode::session) {
    if (target->name.empty()) {
      unnamed_.clear();
      backend_->unnamed = {};
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
  if (known != nullptr && !backend_->replies.skipping()) {
    const PreparedPtr statement = *known;
    statements_->erase(name);
    const BackendStatements::Held* held = backend_->statements.use(*statement);
    constexpr long holders = 2;  // `statement` here, and the backend
    if (held != nullptr && held->confirmed && statement.use_count() == holders) {
      std::string bytes;
      wire::append_close(bytes, 'S', held->name);
      backend_->statements.erase(statement->id);
      out.to_server.copy(bytes);
      push(ReplyKind::close);
      return;
    }
  }
  push(ReplyKind::local_close_complete);
  flush_local_replies(out);
}

void Session::limit_statements(Output& out) {
  while (backend_->statements.size() > context_->config.max_prepared_statements) {
    const BackendStatements::Held* oldest = backend_->statements.oldest();
    if (oldest == nullptr) return;
    std::string bytes;
    wire::append_close(bytes, 'S', oldest->name);
    out.to_server.copy(bytes);
    push(ReplyKind::close, true);
    backend_->statements.erase(oldest->statement->id);
  }
}

}  // namespace dwspool::session
