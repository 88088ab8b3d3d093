#include "dwspool/session/cleaner.h"

#include <algorithm>
#include <array>
#include <utility>

#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"
#include "dwspool/wire/writer.h"

namespace dwspool::session {
namespace {

namespace be = wire::backend;

// The name of one that there is not.
constexpr std::string_view no_portal = "dwspool nobody";

// What DISCARD ALL does, in statements that every DWS has. Temporary tables stay: a backend with
// any is closed instead (doc/dws.md).
constexpr std::array<std::string_view, 5> dws_reset = {"SET SESSION AUTHORIZATION DEFAULT",
                                                       "RESET ALL", "CLOSE ALL", "DEALLOCATE ALL",
                                                       "SELECT pg_advisory_unlock_all()"};

}  // namespace

bool Cleaner::needed(const Backend& backend) {
  return backend.dirty || !backend.replies.quiet() || backend.status != wire::TxStatus::idle;
}

Cleaner::State Cleaner::start(Output& out) {
  ReplyTracker& replies = backend_->replies;
  stream_left_ = std::exchange(backend_->unread, 0);
  std::string bytes;
  if (replies.copy_in()) {
    wire::MessageWriter(bytes, wire::frontend::copy_fail).cstring("the client has left").end();
    replies.on_copy_sent();
  }
  if (replies.unsynced() || replies.skipping()) {
    if (!replies.skipping()) {
      // A Sync alone would commit what the client has sent of a batch. Nobody else has said that
      // it is whole: it fails.
      wire::append_execute(bytes, no_portal);
      replies.push({.kind = ReplyKind::execute, .own = true});
    }
    wire::append_sync(bytes);
    replies.push({.kind = ReplyKind::sync, .own = true});
  }
  out.to_server.copy(bytes);
  return advance(out);
}

void Cleaner::ask(std::string_view sql, Output& out) {
  std::string bytes;
  wire::append_query(bytes, sql);
  backend_->replies.push({.kind = ReplyKind::query, .own = true});
  out.to_server.copy(bytes);
}

Cleaner::State Cleaner::advance(Output& out) {
  if (state_ == State::failed || state_ == State::done || !backend_->replies.quiet()) {
    return state_;
  }
  if (backend_->retire || backend_->replies.in_doubt()) return state_ = State::failed;
  if (state_ == State::finishing) {
    if (backend_->status != wire::TxStatus::idle) {
      state_ = State::rolling_back;
      ask("ROLLBACK", out);
      return state_;
    }
    state_ = State::rolling_back;
  }
  if (state_ == State::rolling_back) {
    if (backend_->status != wire::TxStatus::idle) return state_ = State::failed;
    if (!backend_->dirty) {
      state_ = State::done;
      return state_;
    }
    state_ = State::resetting;
    if (backend_->dialect == Dialect::dws) {
      if (backend_->holds_temporary_objects) return state_ = State::failed;
      for (const std::string_view sql : dws_reset) ask(sql, out);
    } else {
      ask("DISCARD ALL", out);
    }
    return state_;
  }
  if (backend_->status != wire::TxStatus::idle) return state_ = State::failed;
  finish();
  return state_;
}

void Cleaner::finish() {
  state_ = State::done;
  backend_->dirty = false;
  backend_->holds_temporary_objects = false;
  backend_->applied = no_settings_;
  backend_->statements.clear();
  backend_->unnamed = {};
  backend_->sql_statements.reset();
}

Cleaner::State Cleaner::on_server(std::string_view& in, Output& out) {
  while (!in.empty() && state_ != State::failed && state_ != State::done) {
    if (stream_left_ > 0) {
      const std::size_t piece = std::min(stream_left_, in.size());
      in.remove_prefix(piece);
      stream_left_ -= piece;
      continue;
    }
    const wire::FrameView view = wire::peek_frame(in);
    if (view.status == wire::FrameStatus::incomplete) break;
    if (view.status == wire::FrameStatus::bad) return state_ = State::failed;
    if (view.status == wire::FrameStatus::partial) {
      if (view.type != be::data_row && view.type != be::copy_data && view.total < 65536) break;
      stream_left_ = view.total;
      continue;
    }
    const wire::Frame frame = wire::take_frame(in, view);
    on_frame(frame.type, frame.body(), out);
  }
  return state_;
}

Cleaner::State Cleaner::on_frame(char type, std::string_view body, Output& out) {
  ReplyTracker& replies = backend_->replies;
  while (!replies.empty() && is_local(replies.head().kind)) replies.pop();
  if (const std::optional<ReplyKind> answered = answered_by(type)) {
    if (!replies.empty() && replies.head().kind == *answered) {
      if (settles_statement(replies.head())) backend_->statements.settle();
      replies.pop();
    }
    return state_;
  }
  switch (type) {
    case be::error_response: {
      // Whatever the client's leftovers say is nobody's business; what we ask must work.
      if (wire::read_error(body).is_fatal() || state_ != State::finishing) {
        return state_ = State::failed;
      }
      std::size_t skipped = 0;
      replies.on_error([&](const Reply& reply) {
        if (settles_statement(reply)) ++skipped;
      });
      backend_->statements.undo(skipped);
      if (replies.skipping()) {
        std::string bytes;
        wire::append_sync(bytes);
        replies.push({.kind = ReplyKind::sync, .own = true});
        out.to_server.copy(bytes);
      }
      return state_;
    }
    case be::ready_for_query: {
      const auto status = wire::read_ready_for_query(body);
      if (!status || !replies.on_ready()) return state_ = State::failed;
      backend_->status = *status;
      while (!replies.empty() && is_local(replies.head().kind)) replies.pop();
      return advance(out);
    }
    case be::parameter_status:
      if (const auto status = wire::read_parameter_status(body)) {
        ReportedSet reported = *backend_->reported;
        reported.set(status->name, status->value);
        backend_->reported = reported_->intern(std::move(reported));
      }
      return state_;
    case be::copy_in_response: {
      // A COPY that the client had started and will not feed.
      replies.on_copy_in();
      std::string bytes;
      wire::MessageWriter(bytes, wire::frontend::copy_fail).cstring("the client has left").end();
      replies.on_copy_sent();
      if (replies.unsynced()) {
        wire::append_sync(bytes);
        replies.push({.kind = ReplyKind::sync, .own = true});
      }
      out.to_server.copy(bytes);
      return state_;
    }
    default:
      return state_;
  }
}

}  // namespace dwspool::session
