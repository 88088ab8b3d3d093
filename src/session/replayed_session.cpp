// The way of every message, while nothing fails: kept until the session is at rest again.
#include "dwspool/session/replayed_session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "dwspool/base/text.h"

#include "dwspool/sql/lexer.h"
#include "dwspool/wire/frame.h"

#include "dwspool/retry/unit_log.h"

namespace dwspool::session {
namespace {

// A log that grew larger than this does not keep its memory.
constexpr std::size_t kept_capacity = 16384;
constexpr std::size_t max_spare = 256;
// Most transactions are told less, and end without anybody having asked for the digests.
constexpr std::size_t most_recent = 4096;

// What a statement begins with that is probably a read; whether it is one is asked when it has
// failed.
constexpr std::array<std::string_view, 6> reading_words = {"select",  "with",  "values",
                                                           "explain", "table", "show"};

}  // namespace

ReplayedSession::ReplayedSession(SessionContext& context, ReplayContext* replay,
                                 std::uint64_t number, SettingsPtr startup, wire::KeyData key)
    : session_(context, number, std::move(startup), std::move(key)),
      replay_(replay),
      number_(number) {}

ReplayedSession::ReplayedSession(SessionContext& context, ReplayContext* replay,
                                 std::uint64_t number, const SessionImage& image, wire::KeyData key)
    : session_(context, number, image, std::move(key)),
      replay_(replay),
      number_(number),
      dialect_(image.dialect) {}

ReplayedSession::~ReplayedSession() {
  if (recording_) end_recording();
}

// --- What is kept -------------------------------------------------------------------------------

// `SET dwspool.replay = ...` is a setting like any other, and carried like any other.
ReplayLevel ReplayedSession::level() {
  if (replay_ == nullptr) return ReplayLevel::off;
  const SettingsPtr& wanted = session_.wanted_settings();
  if (wanted.get() == level_of_.get()) return level_;
  level_of_ = wanted;
  level_ = replay_->options.level;
  if (const std::string* value = wanted->find("dwspool.replay")) {
    std::string_view name = *value;
    if (name.size() >= 2 && (name.front() == '\'' || name.front() == '"')) {
      name = name.substr(1, name.size() - 2);
    }
    level_ = retry::read_replay_level(name).value_or(level_);
  }
  return level_;
}

void ReplayedSession::begin_recording() {
  auto& spare = replay_->spare;
  if (spare.empty()) {
    recording_ = std::make_unique<Recording>();
  } else {
    recording_ = std::move(spare.back());
    spare.pop_back();
  }
  session_.keep_mark(&recording_->mark);
  recording_->mark.tokens = level_ >= ReplayLevel::token;
}

void ReplayedSession::end_recording() {
  Recording& done = *recording_;
  effort_.reset();
  session_.keep_mark(nullptr);
  replay_->memory -= done.log.size();
  if (done.log.capacity() > kept_capacity || replay_->spare.size() >= max_spare) {
    recording_.reset();
    return;
  }
  done.log.clear();
  done.held.clear();
  done.recent.clear();
  done.unrepeatable = done.bound = done.ends = done.no_token = false;
  done.transcript.clear();
  done.sampled = false;
  done.mark.wanted.reset();
  done.mark.statements.clear();
  replay_->spare.push_back(std::move(recording_));
}

// What is over and answered, with no transaction open behind it, is not to be run once more when
// what comes behind it fails.
void ReplayedSession::forget_finished() {
  Run& run = *run_;
  Recording& recording = *recording_;
  const bool answered =
      run.again.units().size() == run.units_fed && run.again.between_units() && passes_on();
  if (!answered || run.fed == recording.log.size() || !session_.at_rest()) return;
  recording.log.erase(0, run.fed);
  replay_->memory -= run.fed;
  recording.transcript.clear();
  recording.unrepeatable = false;
  session_.keep_mark(&recording.mark);
  run.must_read -= std::min(run.must_read, run.fed);
  run.fed = run.units_fed = 0;
  run.again.clear();
  run.in_transaction = false;
  recording.bound = session_.pins() != 0;
  run.statements = session_.settled_statements();
}

// --- Live ---------------------------------------------------------------------------------------

Next ReplayedSession::on_client(std::string_view& in, Output& out, TimePoint now) {
  if (phase_ != Phase::live && run_->dormant && in.starts_with(wire::frontend::terminate)) {
    abandon_run();  // nobody wants what was lost back
  }
  if (phase_ != Phase::live) {
    const Next next = on_client_in_run(!in.empty(), out, now);
    if (phase_ != Phase::live || next != Next::need_input) return next;
  }
  while (true) {
    bool sampled = false;
    if (!recording_ && may_record(in, sampled, out)) {
      begin_recording();
      recording_->sampled = sampled;
    }
    if (!recording_) return session_.on_client(in, out);
    // Without a backend, what is answered here may bring the session to rest behind each unit.
    std::string_view said = in;
    if (!session_.attached() && !in.empty()) said = retry::first_piece(in).bytes;
    const std::size_t given = said.size();
    const bool more = given < in.size();
    const Next next = record(said, out, now);
    in.remove_prefix(given - said.size());
    if (next != Next::need_input || !more || !said.empty()) return next;
  }
}

// Something new begins, and it is to be kept.
bool ReplayedSession::may_record(std::string_view in, bool& sampled, Output& out) {
  if (in.empty() || replay_ == nullptr || !session_.at_rest()) return false;
  if (--replay_->until_sample == 0) {
    replay_->until_sample = ReplayContext::sample_every;
    sampled = true;
  }
  unrecorded_ = retry::Refusal::none;
  if (session_.pins() != 0 || session_.config().mode == PoolMode::session) {
    unrecorded_ = retry::Refusal::pinned;
  } else if (level() < ReplayLevel::statement) {
    unrecorded_ = retry::Refusal::level;
  }
  if (unrecorded_ == retry::Refusal::none) return true;
  if (sampled) out.sample = unrecorded_;
  return false;
}

// The session hears `in`, and what it takes of that is kept.
Next ReplayedSession::record(std::string_view& in, Output& out, TimePoint now) {
  const std::string_view before = in;
  const std::size_t mark = out.to_client.size();
  const std::uint32_t errors = out.errors;
  const Next next = feed(in, recording_->log, out, now);
  // What is held comes in front of what is answered here.
  if (out.to_client.size() != mark || next == Next::close) let_go(out, mark);
  if (session_.at_rest()) {
    // It was answered without a backend: the next one is the sample.
    if (recording_->sampled) replay_->until_sample = 1;
    end_recording();
    return next;
  }
  if (out.errors != errors) {
    // The client was told of a failure already: nothing of it is to be run, now or later.
    stop_recording(retry::Refusal::none, out);
    return next;
  }
  const std::string_view said = before.substr(0, before.size() - in.size());
  const retry::ReplayOptions& options = replay_->options;
  if (recording_->log.size() + said.size() > options.log_bytes ||
      replay_->memory + said.size() > options.memory ||
      recording_->transcript.units().size() >= options.log_units) {
    stop_recording(retry::Refusal::too_big, out);
    return next;
  }
  recording_->log.append(said);
  replay_->memory += said.size();
  observe(out, mark);
  return next;
}

// The session hears `in`, behind `log`.
Next ReplayedSession::feed(std::string_view& in, std::string_view log, Output& out, TimePoint now) {
  Next next = session_.on_client(in, out);
  if (!session_.wants_token()) return next;
  decide_token(log, in, out, now);
  next = session_.on_client(in, out);
  return next;
}

// Until the next rest, what is lost is lost.
void ReplayedSession::stop_recording(retry::Refusal why, Output& out) {
  let_go(out, out.to_client.size());
  out.unprotected = unrecorded_ = why;
  if (recording_->sampled && why != retry::Refusal::none) out.sample = why;
  end_recording();
}

Next ReplayedSession::on_granted(Backend& backend, Output& out, TimePoint now) {
  const std::size_t mark = out.to_client.size();
  dialect_ = backend.dialect;
  const Next next = session_.on_granted(backend, out);
  return phase_ == Phase::live ? next : compare(out, mark, next, now);
}

Next ReplayedSession::on_server(std::string_view& in, Output& out, TimePoint now) {
  if (!recording_) return session_.on_server(in, out);
  const std::size_t mark = out.to_client.size();
  const std::uint32_t errors = out.errors;
  const std::uint32_t queries = out.queries;
  const std::uint32_t transactions = out.transactions;
  const bool could_commit = session_.may_have_committed();
  alone_ = session_.token_sent_alone();
  const Next next = session_.on_server(in, out);
  if (phase_ != Phase::live) {
    const Next compared = take_found_loss(compare(out, mark, next, now), out, now);
    if (compared != Next::need_input || phase_ != Phase::replaying) return compared;
    return pump(out, now);
  }
  if (next == Next::close) {
    let_go(out, mark);
    return next;
  }
  if (out.errors == errors && session_.at_rest() && !session_.has_found_loss()) {
    // By far the most frequent: all is answered.
    end_effort(out, now);
    let_go(out, mark);
    if (recording_->sampled) take_sample(out, now);
    end_recording();
    return next;
  }
  if (out.errors != errors) {
    if (const auto taken = take_error(out, mark, now)) return *taken;
  }
  if (out.queries != queries) end_effort(out, now);
  if (out.errors != errors && session_.at_rest() && !session_.has_found_loss()) {
    let_go(out, mark);
    end_recording();
    return next;
  }
  if (out.queries != queries) let_go(out, mark);
  const bool held = out.queries == queries && holds_back(out, mark, now);
  if (!held) observe(out, mark);
  if (held && !session_.has_found_loss()) return next;
  // A transaction has ended and the session goes on: what came before is not to be run again.
  const bool committed = could_commit && !session_.token_refused() &&
                         !(session_.attached() && session_.may_have_committed());
  if (committed || out.transactions != transactions) {
    stop_recording(retry::Refusal::pipelined, out);
  } else if (copies_by_execute()) {
    stop_recording(retry::Refusal::copy, out);
  }
  if (session_.has_found_loss()) return take_found_loss(next, out, now);
  return next;
}

// What is said now belongs to a COPY or to what comes behind it, and only the server can tell.
bool ReplayedSession::copies_by_execute() const {
  return session_.attached() && session_.backend()->replies.copy_in_by_execute();
}

Next ReplayedSession::take_found_loss(Next next, Output& out, TimePoint now) {
  if (!session_.has_found_loss()) return next;
  const std::string cause = *session_.found_loss();
  if (recording_) return on_loss(cause, true, out, now);
  note_loss(cause, out);
  return session_.on_backend_lost(cause, out);
}

Next ReplayedSession::on_backend_lost(std::string_view cause, Output& out, TimePoint now) {
  if (recording_) return on_loss(std::string(cause), false, out, now);
  note_loss(cause, out);
  return session_.on_backend_lost(cause, out);
}

// Nothing was kept of what is lost with the backend.
void ReplayedSession::note_loss(std::string_view cause, Output& out) const {
  if (replay_ == nullptr || unrecorded_ == retry::Refusal::none || !session_.attached() ||
      session_.at_rest() || session_.state() == SessionState::syncing) {
    return;
  }
  const retry::LostWork work = session_.lost_work();
  const bool open = work.in_transaction && !work.may_have_committed;
  note_refusal(open ? retry::Failure::transaction_lost : retry::Failure::in_doubt, unrecorded_,
               cause, out);
}

// The answer has come for which something was run again.
void ReplayedSession::end_effort(Output& out, TimePoint now) {
  if (!effort_) return;
  effort_->note.took = now - effort_->started;
  if (replay_->moderator) replay_->moderator->note_survived(effort_->note.statement);
  out.replays.push_back(std::move(effort_->note));
  effort_.reset();
}

// The client is being told what stands behind `mark`.
void ReplayedSession::observe(const Output& out, std::size_t mark) {
  if (out.to_client.size() == mark) return;
  std::string& recent = recording_->recent;
  out.to_client.for_each_from(mark, [&](std::string_view bytes) {
    if (recent.size() + bytes.size() <= most_recent) {
      recent.append(bytes);
    } else {
      digest_recent();
      digest(bytes);
    }
  });
}

const retry::Transcript& ReplayedSession::transcript() const {
  if (!recording_->recent.empty()) digest_recent();
  return recording_->transcript;
}

void ReplayedSession::digest_recent() const {
  digest(recording_->recent);
  recording_->recent.clear();
}

void ReplayedSession::digest(std::string_view bytes) const {
  retry::Transcript& transcript = recording_->transcript;
  while (!bytes.empty()) {
    if (transcript.large_left() > 0) {
      const std::string_view piece = bytes.substr(0, transcript.large_left());
      transcript.add_rest(piece);
      bytes.remove_prefix(piece.size());
      continue;
    }
    const wire::FrameView view = wire::peek_frame(bytes);
    if (view.status == wire::FrameStatus::complete) {
      const wire::Frame frame = wire::take_frame(bytes, view);
      if (frame.type == wire::backend::error_response &&
          !comes_again(wire::read_error(frame.body()))) {
        recording_->unrepeatable = true;
      }
      transcript.add(frame.type, frame.body());
    } else {
      transcript.begin_large(view.type, bytes.substr(wire::header_size), view.total - bytes.size());
      return;
    }
  }
}

// --- An answer that is held back for a moment ---------------------------------------------------

// The answer to a read outside of a transaction waits until it is whole, has grown large or is
// some time old: until then, the read can be run again without anybody having seen anything.
bool ReplayedSession::holds_back(Output& out, std::size_t mark, TimePoint now) {
  Recording& recording = *recording_;
  const bool token = session_.token_sent() || session_.token_refused();
  if (recording.held.empty()) {
    if (session_.has_found_loss() && !token) return false;
    if (token) {
      // Until it is known whether all of it comes: the rest can be found out.
    } else if (out.to_client.size() == mark || !session_.attached() || session_.in_transaction() ||
               session_.may_have_committed() || replay_->options.hold_bytes == 0 ||
               !transcript().untold() || !reads(recording.log)) {
      return false;
    } else {
      deadline_ = deadline_after(now, replay_->options.hold_time);
    }
  }
  out.to_client.for_each_from(mark, [&](std::string_view bytes) { recording.held.append(bytes); });
  out.to_client.truncate(mark);
  if (recording.held.size() <= replay_->options.hold_bytes) return true;
  let_go(out, mark);
  return false;
}

// What was held goes out, in front of what stands behind `mark`; it is to be observed then.
void ReplayedSession::hand_over(Output& out, std::size_t mark) {
  std::vector<std::string_view> behind;
  out.to_client.for_each_from(mark, [&](std::string_view bytes) { behind.push_back(bytes); });
  out.to_client.truncate(mark);
  out.to_client.copy(recording_->held);
  recording_->held.clear();
  for (const std::string_view bytes : behind) out.to_client.add(bytes);
  deadline_ = never;
}

bool ReplayedSession::reads(std::string_view log) const {
  const wire::FrameView view = wire::peek_frame(log);
  if (view.status != wire::FrameStatus::complete) return false;
  const std::string_view body = log.substr(wire::header_size, view.total - wire::header_size);
  std::string_view text;
  if (view.type == wire::frontend::query) {
    text = wire::read_query(body).value_or(std::string_view{});
  } else if (view.type == wire::frontend::parse) {
    if (const auto message = wire::read_parse(body)) text = message->query;
  } else if (view.type == wire::frontend::bind) {
    const auto prefix = wire::read_bind_prefix(body);
    const PreparedStatement* known = prefix ? session_.statement(prefix->statement) : nullptr;
    if (known != nullptr) text = known->query;
  }
  const sql::Token first = sql::Lexer(text, true).next();
  return std::any_of(reading_words.begin(), reading_words.end(),
                     [&](std::string_view word) { return first.is(word); });
}

// --- Rarely --------------------------------------------------------------------------------------

Next ReplayedSession::on_timer(Output& out, TimePoint now) {
  if (now < deadline_) return Next::need_input;
  deadline_ = never;
  if (phase_ == Phase::live) {
    if (recording_) {
      const std::size_t mark = out.to_client.size();
      let_go(out, mark);
      observe(out, mark);
    }
    return Next::need_input;
  }
  return on_timer_in_run(out, now);
}

bool ReplayedSession::set_context(SessionContext& context, ReplayContext* replay) {
  if (phase_ != Phase::live || recording_ || session_.attached()) return false;
  if (session_.client_status() != wire::TxStatus::idle) return false;
  session_.set_context(context);
  replay_ = replay;
  level_of_.reset();
  return true;
}

std::optional<SessionImage> ReplayedSession::image() const {
  if (phase_ != Phase::live || recording_) return std::nullopt;
  std::optional<SessionImage> image = session_.image();
  if (image) image->dialect = dialect_;
  return image;
}

Next ReplayedSession::drain(Output& out, std::string_view why) {
  if (phase_ == Phase::live) return session_.drain(out, why);
  draining_ = true;  // when what is under way is through
  drain_reason_ = why;
  return Next::need_input;
}

}  // namespace dwspool::session
