// dwspool's shell, as thin as it can be: it does for the simulated network what proxy::FrontConn,
// BackConn and Worker do for real sockets, in the same order of calls. Everything that decides is
// the code that ships: sessions, pools, cleaners, log-ins, the guard, the ledger of places and
// the registry of cancel keys.
//
// The defects of broken.h are in here; there is none when Broken::nothing is asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dwspool/base/byte_queue.h"
#include "dwspool/base/ids.h"
#include "dwspool/base/slot_map.h"

#include "dwspool/login/backend_login.h"
#include "dwspool/login/guard.h"
#include "dwspool/login/key_cache.h"
#include "dwspool/pool/pool.h"

#include "dwspool/session/cleaner.h"
#include "dwspool/session/replayed_session.h"
#include "dwspool/session/startup_flow.h"

#include "dwspool/cluster/topology.h"
#include "dwspool/proxy/cancel_registry.h"
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/slot_ledger.h"

#include "sim/network.h"
#include "sim/server.h"
#include "sim/tamper.h"

namespace dwspool::sim {

class Back;
class Shell;

struct ShellOptions {
  session::SessionConfig sessions;
  retry::ReplayOptions replay;
  retry::ModeratorOptions moderator;
  pool::PoolOptions pool;
  std::uint32_t pool_size = 2;
  std::uint32_t reserve_size = 0;
  Duration connect_timeout{};
};

class Front final : public Endpoint {
 public:
  Front(Shell& shell, ClientId id, Plug plug);

  void on_bytes(std::string_view bytes) override;
  void on_end(bool clean) override;

  void on_granted(Back& backend);
  void on_acquire_failed(const wire::ErrorReport& report);
  void on_wait_notice();
  void on_backend_bytes(std::string_view& in);
  void on_backend_lost(std::string_view cause);
  void on_session_deadline();
  void drain();
  void cancel(const std::function<void()>& done);
  void destroy();

  ClientId id() const { return id_; }
  const session::ReplayedSession* session() const { return session_.get(); }
  Back* backend() const { return backend_; }
  bool waiting() const { return waiting_; }
  // Since when something that has failed is being made good; `never` when nothing is.
  TimePoint replay_began() const { return replay_began_; }
  // For how long that may go on, by the options that its session has.
  Duration replay_deadline() const { return replay_deadline_; }
  TimePoint wait_started() const { return wait_started_; }
  TimePoint linger_ends() const { return linger_ends_; }
  TimePoint deadline() const {
    if (lingering_) return linger_ends_;
    return session_ ? session_->deadline() : never;
  }
  const Plug& plug() const { return plug_; }

 private:
  friend class Shell;
  bool process(std::string_view& in);
  bool process_startup(std::string_view& in);
  bool start_session();
  bool run(session::Next next, std::string_view& in);
  void go_on(session::Next next);
  void take_sessions();
  void move();
  bool acquire();
  void lend(Back& backend);
  bool flush();
  bool finish();
  void give_back(bool abandoned);
  bool said_goodbye() const;
  void watch_replay();
  void check_doubt(const session::ReplayNote& note);
  void run_what_was_told();
  void stop_waiting();
  void adopt_pid();

  Shell& shell_;
  ClientId id_;
  Plug plug_;
  std::unique_ptr<session::StartupFlow> startup_;
  std::shared_ptr<proxy::SharedSessions> sessions_;
  std::unique_ptr<session::ReplayedSession> session_;
  Back* backend_ = nullptr;
  BackendId last_backend_;
  wire::KeyData key_;
  ByteQueue in_;
  Tamper tamper_;
  std::uint64_t answered_ = 0;
  bool lingering_ = false;
  bool waiting_ = false;
  bool input_ended_ = false;
  TimePoint wait_started_;
  TimePoint replay_began_ = never;
  bool token_sent_ = false;
  Duration replay_deadline_{};
  std::string heard_;  // for Broken::replay_what_was_told
  TimePoint linger_ends_ = never;
};

class Back final : public Endpoint {
 public:
  Back(Shell& shell, BackendId id, pool::Slot slot);
  ~Back();
  Back(const Back&) = delete;
  Back& operator=(const Back&) = delete;

  void open();
  // The network has an answer to the connection attempt.
  void on_connected(bool reachable);
  void on_derived();
  void on_bytes(std::string_view bytes) override;
  void on_end(bool clean) override;
  void on_deadline();

  void lend(Front& client);
  void take_back(bool abandoned);
  bool send(const GatherList& bytes);
  void cancel(std::uint64_t request, const std::function<void()>& done);
  void on_cancel_finished(bool dealt_with);
  void close();

  BackendId id() const { return id_; }
  pool::Slot slot() const { return slot_; }
  session::Backend& core() { return core_; }
  const session::Backend& core() const { return core_; }
  Front* client() const { return client_; }
  const Plug& plug() const { return plug_; }
  TimePoint deadline() const { return deadline_; }
  bool connecting() const { return connecting_; }
  bool deriving() const { return deriving_; }
  bool ready() const { return state_ == State::ready; }
  std::size_t coordinator() const { return coordinator_; }
  std::string_view input_left() const { return reading_ != nullptr ? *reading_ : in_.view(); }

 private:
  friend class Front;
  friend class Shell;
  enum class State : std::uint8_t { opening, ready, cleaning };

  void try_next_host();
  void connect();
  void on_login_progress(login::BackendLogin::Need need);
  void derive_keys();
  void on_logged_in();
  void on_login_failed();
  void coordinator_failed(const std::string& why);
  void come_to_nothing(TimePoint not_before);
  void failed(const wire::ErrorReport& report);
  bool process(std::string_view& in);
  void on_idle_bytes(std::string_view& in);
  bool run_cleaner(session::Cleaner::State state);
  bool cleaned();
  void lost(const std::string& cause);
  bool send_raw(std::string_view bytes);
  void send_cancel(std::function<void()> done);
  void make_way();
  bool resend();

  Shell& shell_;
  BackendId id_;
  pool::Slot slot_;
  State state_ = State::opening;
  session::Backend core_;
  Plug plug_;
  Front* client_ = nullptr;
  const std::string_view* reading_ = nullptr;  // what is left of what has just come
  ByteQueue in_;
  TimePoint deadline_ = never;
  TimePoint cleaning_ends_ = never;
  std::size_t coordinator_ = 0;
  bool counted_ = false;  // by the topology
  bool broken_ = false;
  bool connecting_ = false;
  bool deriving_ = false;
  int cancels_in_flight_ = 0;
  bool cancel_lost_ = false;
  std::uint64_t cancelled_request_ = 0;
  std::string last_burst_;  // for Broken::resend_after_loss
  std::string last_row_;    // for Broken::leftover_bytes

  struct Opening {
    std::vector<cluster::HostId> tried;
    std::optional<login::BackendLogin> login;
    std::optional<login::LoginGuard::Attempt> attempt;
  };
  std::unique_ptr<Opening> opening_;
  std::unique_ptr<session::Cleaner> cleaner_;
};

// A CancelRequest on its way to a coordinator, like proxy::CancelSender.
class CancelConn final : public Endpoint {
 public:
  CancelConn(Shell& shell, BackendId backend, std::size_t coordinator, wire::KeyData key,
             std::function<void()> done);
  void on_connected(bool reachable);
  void on_bytes(std::string_view) override {}
  void on_end(bool clean) override { finish(clean); }
  // `dealt_with`: it cannot hit anything any more.
  void finish(bool dealt_with);

  bool connecting() const { return connecting_; }
  bool finished() const { return finished_; }
  TimePoint deadline() const { return deadline_; }

 private:
  Shell& shell_;
  BackendId backend_;
  std::size_t coordinator_;
  wire::KeyData key_;
  std::function<void()> done_;
  Plug plug_;
  TimePoint deadline_;
  bool connecting_ = true;
  bool finished_ = false;
  bool sent_ = false;
};

class Shell {
 public:
  Shell(Context& context, Network& network, Cluster& cluster, const ShellOptions& options);

  Context& context() { return context_; }
  // A client connects; its end of the wire.
  Plug accept();
  void drain();
  // Another configuration, of the same pool mode; RECONNECT, a coordinator that is not to be used
  // any more, PAUSE and RESUME.
  void reload(const ShellOptions& options);
  void renew();
  void leave_coordinator(std::size_t coordinator);
  void pause();
  void resume();
  // One of the things that happen outside: connections made or refused, keys derived.
  void collect_connecting(std::vector<std::function<void()>>& events, bool may_fail);
  TimePoint next_deadline();
  // Everything that is due.
  void on_timer();
  void sweep();

  template <class Visit>
  void for_each_client(Visit&& visit) {
    clients_.for_each(visit);
  }
  template <class Visit>
  void for_each_backend(Visit&& visit) {
    backends_.for_each(visit);
  }
  std::size_t client_count() const { return clients_.size(); }
  const pool::Pool& pool() const { return pool_; }
  const ShellOptions& options() const { return options_; }
  Cluster& cluster() { return cluster_; }
  bool draining() const { return draining_; }
  std::uint32_t places_taken() const { return slots_->taken(); }
  // Called whenever a backend is given to a client.
  void set_lend_watch(std::function<void(const Back&)> watch) { lend_watch_ = std::move(watch); }

 private:
  friend class Front;
  friend class Back;
  friend class CancelConn;

  void spoil_replay();
  void settle();
  void do_actions();
  void fail_waiters(const wire::ErrorReport& report);
  void forward_cancel(const wire::CancelRequest& request, ClientId requester);
  void remove_client(ClientId id);
  Front* find_client(ClientId id) const { return clients_.find(id); }
  Back* find_backend(BackendId id) const { return backends_.find(id); }

  Context& context_;
  Network& network_;
  Cluster& cluster_;
  ShellOptions options_;
  session::PreparedTable statements_;
  session::Interner<session::SettingSet> settings_;
  session::Interner<session::ReportedSet> reported_;
  session::SettingsPtr no_settings_;
  std::shared_ptr<retry::Moderator> moderator_;
  std::shared_ptr<proxy::SharedSessions> sessions_;
  session::Output output_;
  pool::Pool pool_;
  cluster::Topology topology_{cluster::Options{}};
  proxy::SlotLedger ledger_{1};
  std::shared_ptr<proxy::SlotAccount> slots_;
  proxy::CancelRegistry cancels_;
  login::LoginGuard guard_{std::chrono::minutes{30}};
  login::KeyCache keys_;
  std::vector<bool> old_protocol_;
  std::string last_failure_;
  int token_sources_ = 0;
  std::uint64_t last_session_ = 0;
  std::uint64_t releases_ = 0;
  bool settling_ = false;
  bool draining_ = false;
  SlotMap<Front, ClientId> clients_;
  SlotMap<Back, BackendId> backends_;
  std::list<std::unique_ptr<CancelConn>> cancel_conns_;
  // Gone, but perhaps still on the stack.
  std::vector<std::unique_ptr<Front>> dead_clients_;
  std::vector<std::unique_ptr<Back>> dead_backends_;
  std::function<void(const Back&)> lend_watch_;
};

}  // namespace dwspool::sim
