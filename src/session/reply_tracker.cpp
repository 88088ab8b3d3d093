#include "dwspool/session/reply_tracker.h"

#include "dwspool/wire/types.h"

namespace dwspool::session {
namespace {

constexpr bool is_request(ReplyKind kind) {
  return kind == ReplyKind::query || kind == ReplyKind::function || kind == ReplyKind::sync ||
         kind == ReplyKind::local_deallocate;
}

}  // namespace

std::optional<ReplyKind> answered_by(char message_type) {
  namespace be = wire::backend;
  switch (message_type) {
    case be::parse_complete:
      return ReplyKind::parse;
    case be::bind_complete:
      return ReplyKind::bind;
    case be::close_complete:
      return ReplyKind::close;
    case be::row_description:
    case be::no_data:
      return ReplyKind::describe;
    case be::command_complete:
    case be::empty_query_response:
    case be::portal_suspended:
      return ReplyKind::execute;
    default:
      return std::nullopt;
  }
}

bool ReplyTracker::push(Reply reply) {
  if (reply.kind == ReplyKind::sync) {
    if (copy_in_) {
      copy_took_sync_ = true;
      return false;  // ignored by the server while it reads CopyData
    }
    skipping_ = false;
    unsynced_ = false;
  } else if (skipping_) {
    return false;
  } else if (copy_in_) {
    // The server takes anything else for a protocol violation, and the message with it.
    in_doubt_ = true;
    return false;
  } else if (reply.kind == ReplyKind::query) {
    unsynced_ = false;  // its end is the end of the implicit transaction before it, too
  } else if (reply.kind != ReplyKind::function && reply.kind != ReplyKind::local_deallocate) {
    unsynced_ = true;
    client_unsynced_ = client_unsynced_ || !reply.own;
  }
  if (!unsynced_) client_unsynced_ = false;
  if (is_request(reply.kind) && !reply.own) ++requests_;
  entries_.push(reply);
  return true;
}

void ReplyTracker::pop() {
  const Reply& done = entries_.front();
  if (is_request(done.kind) && !done.own) request_done();
  if (done.kind == ReplyKind::execute || done.kind == ReplyKind::query) copy_took_sync_ = false;
  entries_.pop();
}

bool ReplyTracker::on_ready() {
  copy_in_ = false;
  if (empty()) {
    // The Sync that a failed COPY seemed to have swallowed was answered after all.
    if (!in_doubt_) return false;
    skipping_ = false;
    unsynced_ = client_unsynced_ = false;
    return true;
  }
  switch (head().kind) {
    case ReplyKind::query:
    case ReplyKind::function:
    case ReplyKind::sync:
      break;
    case ReplyKind::parse:
    case ReplyKind::bind:
    case ReplyKind::describe:
    case ReplyKind::execute:
    case ReplyKind::close:
    case ReplyKind::local_parse_complete:
    case ReplyKind::local_close_complete:
    case ReplyKind::local_deallocate:
    case ReplyKind::copy_end:
      return false;
  }
  pop();
  return true;
}

void ReplyTracker::on_copy_in() {
  copy_in_ = true;
  copy_by_execute_ = !empty() && head().kind == ReplyKind::execute;
  // A Sync that was sent behind the statement is read in COPY mode, and ignored there. What was
  // sent behind the end of the data is not.
  std::size_t i = 1;
  while (i < entries_.size()) {
    const Reply& entry = entries_[i];
    if (entry.kind == ReplyKind::copy_end) {
      copy_in_ = false;
      entries_.erase(i);
      return;
    }
    if (entry.kind == ReplyKind::sync) {
      copy_took_sync_ = true;
      if (!entry.own) request_done();
      entries_.erase(i);
      unsynced_ = unsynced_ || copy_by_execute_;
      client_unsynced_ = client_unsynced_ || copy_by_execute_;
      continue;
    }
    ++i;
  }
}

void ReplyTracker::on_copy_sent() {
  if (copy_in_) {
    copy_in_ = false;
  } else if (!empty() && !skipping_) {
    entries_.push(Reply{.kind = ReplyKind::copy_end});
  }
}

void ReplyTracker::copy_end(bool by_error) {
  // Whether that Sync was read before or after the error cannot be told from here.
  if (by_error && ((copy_in_ && copy_by_execute_) || copy_took_sync_)) in_doubt_ = true;
  copy_in_ = copy_took_sync_ = false;
}

bool ReplyTracker::owes_unnamed_parse() const {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Reply& entry = entries_[i];
    if (entry.kind == ReplyKind::parse && entry.tag == 0 && !entry.own) return true;
  }
  return false;
}

void ReplyTracker::clear() {
  entries_.clear();
  requests_ = 0;
  unsynced_ = client_unsynced_ = skipping_ = copy_in_ = copy_by_execute_ = copy_took_sync_ =
      in_doubt_ = false;
}

}  // namespace dwspool::session
