// A session whose losses are made good: what its client has said since the session was last at
// rest is kept, and run again on another backend when a switchover takes the first one away.
//
//            loss, refusal: decide()            pause over, backend there
//   live ───────────────────────────► pausing ────────────────────────► [asking] ─► replaying
//     ▲                                  ▲  another loss or refusal                    │  │
//     │                                  └─────────────────────────────────────────────┘  │
//     └───────── all is as the client knew it, and what it waits for goes to it ──────────┘
//
// A COMMIT whose answer is lost goes the same way at level `token`, but that it is settled first
// whether it has committed (replay_token.cpp); if it has, that is the answer.
//
//   any but live ──► live: given up (deadline, attempts, other results), the client is told once
//
// It wraps a Session and has its interface, so that the shell cannot tell the difference but for
// the timer. The wrapped session does all the talking, the first time and again: replay feeds it
// the kept messages from the state that it had, and holds back from the client what the client
// has been told already, after comparing it (retry::Transcript). What may be run again, and when,
// is not decided here but in retry/decision.h.
//
// Nothing is kept for a session that is bound to its backend, nor at level `off`.
//
// Output counts what the client is told: what is said again to the server, and what is held back
// of its answers, are not in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dwspool/base/time.h"

#include "dwspool/retry/backoff.h"
#include "dwspool/retry/catalog_question.h"
#include "dwspool/retry/commit_token.h"
#include "dwspool/retry/decision.h"
#include "dwspool/retry/facts.h"
#include "dwspool/retry/moderator.h"
#include "dwspool/retry/refusal.h"
#include "dwspool/retry/replay_options.h"
#include "dwspool/retry/transcript.h"
#include "dwspool/retry/unit_log.h"

#include "dwspool/session/session.h"

namespace dwspool::session {

// What is kept of one session between two rests.
struct Recording {
  SessionMark mark;
  std::string log;               // what the client has sent
  retry::Transcript transcript;  // what it was told, but for
  std::string recent;            // the last of it, as it went out
  std::string held;              // an answer that it was not told yet
  bool unrepeatable = false;     // an error that it was told would not come again
  bool ends = false;             // the last of the log, or what comes next, is a COMMIT on its own
  bool bound = false;            // the backend has what the log does not have: no other will do
  bool no_token = false;         // the write in it has failed together with its token
  bool sampled = false;          // to be looked at when it has ended, see take_sample()
};

// What the sessions of one worker share. Outlives them.
struct ReplayContext {
  ReplayContext(const retry::ReplayOptions& replay_options, retry::ErrorTable table)
      : options(replay_options), errors(std::move(table)) {}

  retry::ReplayOptions options;
  retry::ErrorTable errors;
  retry::CatalogCache catalog;  // of this pool's database and user
  retry::TokenSource tokens;
  std::shared_ptr<retry::Moderator> moderator;  // of the cluster; null: no bounds
  std::vector<std::unique_ptr<Recording>> spare;
  std::size_t memory = 0;   // of the logs in use
  std::size_t waiting = 0;  // clients, for something to be run again
  // One transaction in so many is a sample.
  static constexpr std::uint32_t sample_every = 1024;
  std::uint32_t until_sample = sample_every;
  std::uint64_t samples = 0;
  std::uint64_t random = 0x9E3779B97F4A7C15ULL;

  // Never touched but by the simulator, which proves that it would notice if they were missing.
  struct Safeties {
    retry::Decision (*decide)(const retry::Situation& situation,
                              const std::vector<retry::LoggedUnit>& units) = retry::decide;
    bool compares = true;
    bool rewinds = true;
    std::string (*settle)(std::string_view token) = retry::outcome_question;
  };
  Safeties safeties;
};

class ReplayedSession {
 public:
  // As Session; `replay` may be null, which is level `off`.
  ReplayedSession(SessionContext& context, ReplayContext* replay, std::uint64_t number,
                  SettingsPtr startup, wire::KeyData key);
  ReplayedSession(SessionContext& context, ReplayContext* replay, std::uint64_t number,
                  const SessionImage& image, wire::KeyData key);
  ~ReplayedSession();
  ReplayedSession(const ReplayedSession&) = delete;
  ReplayedSession& operator=(const ReplayedSession&) = delete;

  Next start(Output& out) { return session_.start(out); }
  void set_key(wire::KeyData key) { session_.set_key(std::move(key)); }
  Next on_client(std::string_view& in, Output& out, TimePoint now);
  Next on_granted(Backend& backend, Output& out, TimePoint now);
  Next on_acquire_failed(const wire::ErrorReport& report, Output& out, TimePoint now);
  Next on_server(std::string_view& in, Output& out, TimePoint now);
  Next on_backend_lost(std::string_view cause, Output& out, TimePoint now);
  Next on_cancel_while_waiting(Output& out, TimePoint now);
  void on_wait_notice(Output& out) const { session_.on_wait_notice(out); }
  Next drain(Output& out, std::string_view why = "dwspool is shutting down");
  // Other contexts, of the same pool mode. False, and nothing has changed, unless the session is
  // at rest: no backend, no transaction, and nothing is kept of what it did.
  bool set_context(SessionContext& context, ReplayContext* replay);
  std::optional<SessionImage> image() const;
  Backend* part() { return session_.part(); }

  // Something is to be done at this time even if nothing happens; `never` if not. To be looked at
  // after every step. on_timer may be called early. When it leaves the state `waiting`, the
  // session does not want a backend any more.
  TimePoint deadline() const { return deadline_; }
  Next on_timer(Output& out, TimePoint now);

  // The client has asked to cancel, and the backend is told.
  void on_cancel_sent() { cancelled_ = run_ != nullptr; }
  // Neither waiting for a backend nor using one, but about to.
  bool pausing() const { return phase_ == Phase::pausing; }
  // Something that has failed is made good, and its client waits for that.
  bool makes_good() const { return run_ != nullptr && !run_->dormant; }

  SessionState state() const { return session_.state(); }
  bool attached() const { return session_.attached(); }
  bool busy() const { return phase_ != Phase::live || session_.busy(); }
  wire::TxStatus client_status() const { return session_.client_status(); }
  std::uint32_t pins() const { return session_.pins(); }
  std::size_t client_bytes_wanted() const { return session_.client_bytes_wanted(); }
  std::size_t server_bytes_wanted() const { return session_.server_bytes_wanted(); }
  const SettingsPtr& wanted_settings() const { return session_.wanted_settings(); }
  const ReportedPtr& told() const { return session_.told(); }
  std::size_t prepared_statements() const { return session_.prepared_statements(); }
  bool between_messages() const { return session_.between_messages(); }
  // As the client has written it; empty when there is none of that name.
  std::string_view prepared_text(std::string_view name) const {
    const PreparedStatement* const known = session_.statement(name);
    return known != nullptr ? std::string_view(known->query) : std::string_view();
  }
  // Whether what was lost is being made good.
  bool replaying() const { return phase_ != Phase::live; }

 private:
  // So many statements of one transaction may turn out to be outdated, one after the other.
  static constexpr std::uint32_t most_outdated = 16;
  enum class Phase : std::uint8_t { live, pausing, asking, replaying };
  // A server process that may not have noticed yet that its connection is gone.
  struct Fence {
    std::uint32_t pid = 0;
    std::uint16_t port = 0;  // of dwspool's end; 0: not known
    TimePoint lost{};
  };

  // A client that waits for something to be run again, counted while it does.
  class Presence {
   public:
    Presence() = default;
    Presence(ReplayContext& replay, std::size_t bytes, TimePoint now);
    Presence(Presence&& other) noexcept
        : replay_(std::exchange(other.replay_, nullptr)), seat_(std::move(other.seat_)) {}
    Presence& operator=(Presence&& other) noexcept {
      std::swap(replay_, other.replay_);
      std::swap(seat_, other.seat_);
      return *this;
    }
    Presence(const Presence&) = delete;
    Presence& operator=(const Presence&) = delete;
    ~Presence() {
      if (replay_ != nullptr) --replay_->waiting;
    }

   private:
    ReplayContext* replay_ = nullptr;
    retry::Moderator::Seat seat_;
  };

  // One effort to make good one failure.
  struct Run {
    retry::Failure failure = retry::Failure::in_doubt;
    std::uint64_t statement = 0;  // the fingerprint of what failed
    std::string cause;            // for the DETAIL of an error
    TimePoint started{};
    TimePoint ends = never;
    TimePoint resumes{};
    bool dormant = false;  // nobody waits: it begins with the client's next word
    std::uint32_t losses = 0;
    std::uint32_t refusals = 0;
    retry::Backoff backoff{std::chrono::milliseconds{50}, std::chrono::seconds{2}};
    std::size_t must_read = 0;  // so much of the log must be proven to have only read
    bool asked = false;         // the catalog, in this attempt
    bool in_transaction = false;
    wire::ErrorReport report;  // what it comes to if it fails
    // Not empty: the outcome of this COMMIT is to be settled before anything else.
    std::string token;
    std::unique_ptr<CommittedState> committed;  // what it comes to if it has succeeded
    retry::Decision if_aborted;
    retry::TokenVerdict verdict = retry::TokenVerdict::unknown;
    bool cannot_be_asked = false;
    bool settled = false;  // for the note
    Fence fence;           // not known: none is wanted, or it is done
    Presence waits;
    bool takes_down = false;  // its server, again and again
    // As the client knows them; null: as they were at the mark, for it was told nothing since.
    std::unique_ptr<ClientStatements> statements;
    ReportedPtr told;
    retry::Transcript again;    // what the client would have been told this time
    std::size_t fed = 0;        // bytes of the log
    std::size_t units_fed = 0;  // all of them
  };

  // One that has sent everything again, while the answer that was missing is still to come: what
  // fails before that is the same effort, with its deadline and its attempts.
  struct Effort {
    ReplayNote note;
    TimePoint started{};
    TimePoint ends = never;
    retry::Backoff backoff;
  };

  // replayed_session.cpp: the way of every message
  ReplayLevel level();
  void begin_recording();
  void end_recording();
  void stop_recording(retry::Refusal why, Output& out);
  bool may_record(std::string_view in, bool& sampled, Output& out);
  Next record(std::string_view& in, Output& out, TimePoint now);
  void end_effort(Output& out, TimePoint now);
  Next feed(std::string_view& in, std::string_view log, Output& out, TimePoint now);
  void observe(const Output& out, std::size_t mark);
  // What the client was told since the mark, all of it.
  const retry::Transcript& transcript() const;
  void digest_recent() const;
  void digest(std::string_view bytes) const;
  bool copies_by_execute() const;
  Next take_found_loss(Next next, Output& out, TimePoint now);
  bool holds_back(Output& out, std::size_t mark, TimePoint now);
  void let_go(Output& out, std::size_t mark) {
    if (!recording_->held.empty()) hand_over(out, mark);
  }
  void hand_over(Output& out, std::size_t mark);
  bool reads(std::string_view log) const;
  void note_loss(std::string_view cause, Output& out) const;

  // replay_coverage.cpp: what would be made good, before anything has failed
  void take_sample(Output& out, TimePoint now);

  // replay_start.cpp: something has failed
  std::optional<Next> take_error(Output& out, std::size_t mark, TimePoint now);
  Next on_loss(const std::string& cause, bool still_lent, Output& out, TimePoint now);
  retry::Failure failure_of(const wire::ErrorFields& fields) const;
  bool comes_again(const wire::ErrorFields& fields) const;
  retry::Decision judge(retry::Failure failure, bool in_transaction, const retry::Transcript& told,
                        std::size_t completed) const;
  OpenRequests open_requests() const;
  void begin_run(retry::Failure failure, std::string_view cause, wire::ErrorReport report,
                 bool in_transaction, bool only_if_reads, TimePoint now);
  void note_refusal(retry::Failure failure, retry::Refusal why, std::string_view cause,
                    Output& out) const;

  // replay_facts.cpp: what was said, and what it does
  using UnitFacts = std::vector<std::optional<retry::TextFacts>>;  // of each text, if it is known
  std::vector<retry::UnitTexts> texts_of_log(std::size_t size) const;
  std::vector<UnitFacts> facts_of_log(std::size_t size) const;
  std::vector<retry::LoggedUnit> logged_units(std::size_t size, bool& asked_not_to) const;
  std::optional<std::string> text_of_failed(const retry::Transcript& told) const;
  std::uint64_t fingerprint_of_failed(const retry::Transcript& told) const;
  retry::CatalogNames names_in_log(std::size_t size) const;
  bool leaves_state(const retry::Transcript& told) const;

  // replay_moderation.cpp: for the sake of the cluster
  retry::Decision moderate(retry::Decision decision, retry::Failure failure, TimePoint now) const;
  std::uint64_t suspect(const retry::Transcript& told) const;
  bool takes_servers_down(const retry::LostWork& work, const retry::Transcript& told,
                          TimePoint now) const;
  bool may_wait(TimePoint now);
  Fence fence_for(const retry::LostWork& work, TimePoint now) const;
  void ask_fence(Next& next, Output& out, TimePoint now);
  Next hear_fence(std::string_view bytes, Next next);
  void ask(std::string_view sql, Next& next, Output& out);

  // replay_token.cpp: a COMMIT whose outcome can be found out
  void decide_token(std::string_view log, std::string_view in, Output& out, TimePoint now);
  void note_refused_token(Output& out, TimePoint now);
  Next settle_loss(const std::string& cause, Next next, Output& out, TimePoint now);
  void ask_outcome(Next& next, Output& out);
  Next hear_outcome(std::string_view bytes, Next next, Output& out, TimePoint now);
  Next on_outcome(Next next, Output& out, TimePoint now);
  Next finish_committed(Next next, Output& out, TimePoint now);

  // replay_run.cpp, replay_proof.cpp: once it is being run again
  Next on_client_in_run(bool has_input, Output& out, TimePoint now);
  Next on_timer_in_run(Output& out, TimePoint now);
  Next try_again(bool lost, Next next, Output& out, TimePoint now);
  Next leave_backend(Next next, bool retire);
  void rewind();
  retry::CatalogScope catalog_scope() const;
  bool prove(Next& next, Output& out, TimePoint now);
  Next hear_catalog(std::string_view bytes, Next next, Output& out, TimePoint now);
  Next pump(Output& out, TimePoint now);
  Next compare(Output& out, std::size_t mark, Next next, TimePoint now);
  Next go_live(Output& out, std::size_t mark, Next next, TimePoint now);
  std::optional<Next> take_error_again(const wire::Frame& frame, Next next, Output& out,
                                       TimePoint now);
  bool passes_on() const;
  bool caught_up() const;
  void forget_finished();
  bool may_take_effect(TimePoint now) const;
  bool client_in_transaction() const;
  bool same_unit(std::size_t i) const;
  bool compare_last();
  void finish_run(Output& out, TimePoint now);
  void abandon_run();
  void tell_parameters(Output& out) const;
  ReplayNote note_of_run(retry::ReplayResult result, TimePoint now);
  Next give_up(const wire::ErrorReport& report, retry::ReplayResult result, Next next, Output& out,
               TimePoint now);
  Next give_up_on_mismatch(Next next, Output& out, TimePoint now);

  Session session_;
  ReplayContext* replay_;
  std::uint64_t number_;
  Phase phase_ = Phase::live;
  bool cancelled_ = false;
  bool alone_ = false;  // what the server answers now is a write with a token
  retry::Refusal unrecorded_ = retry::Refusal::none;  // why nothing is kept, if recording stopped
  bool draining_ = false;
  std::string_view drain_reason_;
  Dialect dialect_ = Dialect::unknown;  // of the last backend
  TimePoint deadline_ = never;
  std::string token_;  // of the last COMMIT, or write, that got one
  std::unique_ptr<Recording> recording_;
  std::unique_ptr<Run> run_;
  std::optional<Effort> effort_;
  SettingsPtr level_of_;
  ReplayLevel level_ = ReplayLevel::off;
};

}  // namespace dwspool::session
