#include "dwspool/session/statement_timer.h"

#include <algorithm>

#include "dwspool/sql/fingerprint.h"
#include "dwspool/sql/lexer.h"
#include "dwspool/sql/masked.h"
#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"

namespace dwspool::session {
namespace {

namespace fe = wire::frontend;

// Messages of one request that are looked through for its statement.
constexpr int most_frames = 8;

constexpr bool begins_request(char type) {
  return type == fe::query || type == fe::parse || type == fe::bind || type == fe::execute ||
         type == fe::function_call;
}

// The text of a Query, or of a Parse behind its name; as much as there is of it.
std::string_view text_of(char type, std::string_view body, bool& whole) {
  if (type == fe::parse) {
    const std::size_t name = body.find('\0');
    if (name == std::string_view::npos) {
      whole = false;
      return {};
    }
    body.remove_prefix(name + 1);
  }
  const std::size_t end = body.find('\0');
  whole = end != std::string_view::npos;
  return body.substr(0, end);
}

bool only_begins(std::string_view text) {
  const sql::Token first = sql::Lexer(text, true).next();
  return first.is("begin") || first.is("start");
}

}  // namespace

// The first statement that does something: drivers send BEGIN in front of it.
StatementTimer::Found StatementTimer::find(std::string_view in) {
  Found found;
  for (int i = 0; i < most_frames; ++i) {
    const wire::FrameView view = wire::peek_frame(in);
    if (in.size() < wire::header_size || view.status == wire::FrameStatus::bad) return found;
    if (begins_request(view.type)) found.request = true;
    const std::string_view body =
        in.substr(0, std::min(view.total, in.size())).substr(wire::header_size);
    if (view.type == fe::query || view.type == fe::parse) {
      bool whole = true;
      const std::string_view text = text_of(view.type, body, whole);
      if (found.text.empty() || only_begins(found.text)) {
        found.text = text;
        found.whole = whole;
      }
    } else if (view.type == fe::bind && !found.named) {
      const std::size_t portal = body.find('\0');
      const std::size_t name =
          portal == std::string_view::npos ? portal : body.find('\0', portal + 1);
      if (name != std::string_view::npos) {
        found.name = body.substr(portal + 1, name - portal - 1);
        found.named = true;
      }
    }
    const bool ends = view.type == fe::query || view.type == fe::sync;
    if (ends || view.status != wire::FrameStatus::complete) return found;
    in.remove_prefix(view.total);
  }
  return found;
}

void StatementTimer::remember(std::string_view text, bool whole) {
  text_.assign(text.substr(0, text_limit));
  whole_ = whole && text.size() <= text_limit;
}

std::optional<SlowStatement> StatementTimer::on_answered(TimePoint now, bool more,
                                                         Duration threshold) {
  if (started_ == never) return std::nullopt;
  const Duration took = now - started_;
  std::optional<SlowStatement> slow;
  if (took >= threshold) {
    slow.emplace();
    slow->took = took;
    slow->waited = waited_;
    slow->text = sql::masked(text_, told_limit);
    if (!whole_ && !slow->text.ends_with("...")) slow->text += "...";
    if (whole_ && !text_.empty()) slow->statement = sql::fingerprint(text_);
  }
  started_ = more ? now : never;
  waited_ = {};
  remember({}, true);
  return slow;
}

}  // namespace dwspool::session
