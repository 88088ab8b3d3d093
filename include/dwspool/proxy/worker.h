// One event loop and everything on it: clients, backends, pools. Workers share nothing but the
// Hub, and talk to each other by posting.
//
// Every callback of the loop ends in settle(), which does what the pools have decided meanwhile.
// Nothing is destroyed under the feet of a caller but by the functions that say so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <queue>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dwspool/base/gather_list.h"
#include "dwspool/base/hash.h"
#include "dwspool/base/ids.h"
#include "dwspool/base/slot_map.h"
#include "dwspool/base/unique_fd.h"

#include "dwspool/metrics/registry.h"

#include "dwspool/session/output.h"

#include "dwspool/net/address.h"
#include "dwspool/net/async.h"
#include "dwspool/net/loop.h"
#include "dwspool/net/timer.h"

#include "dwspool/proxy/back_conn.h"
#include "dwspool/proxy/cancel_sender.h"
#include "dwspool/proxy/console_desk.h"
#include "dwspool/proxy/front_conn.h"
#include "dwspool/proxy/hub.h"
#include "dwspool/proxy/introductions.h"
#include "dwspool/proxy/peer_cancels.h"
#include "dwspool/proxy/pool_context.h"

namespace dwspool::proxy {

class Departures;

class Worker {
 public:
  Worker(Hub& hub, std::size_t index, std::vector<std::unique_ptr<Worker>>& all);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Runs the loop until it is stopped. The calling thread is the worker's.
  void run() { loop_.run(); }

  // --- From any thread ---
  // Calls the function on the worker's thread. Order is kept.
  void post(std::function<void(Worker&)> task);
  std::size_t index() const { return index_; }

  // --- From the worker's thread ---
  // `by_proxy`: see FrontConn.
  void add_client(UniqueFd fd, const net::Address& peer, bool by_proxy);
  // --- Clients that go to another process (worker_handover.cpp), which `departures` leads to ---
  void begin_departures(Departures& departures);
  void offer_clients();
  // At rest perhaps.
  void offer(FrontConn& client);
  bool departing() const { return departures_ != nullptr; }
  void on_departed(ClientId id, bool taken);
  void end_departures();
  // --- ... and that come from one. adopt_client: no id when this process cannot have it. ---
  ClientId adopt_client(const ClientRecord& record, UniqueFd fd);
  void begin_client(ClientId id);
  void drop_client(ClientId id);
  // No client begins anything new; `done` is called when the last one has gone.
  void drain(std::function<void()> done);
  // Ends whatever is left, and lets run() return.
  void stop();
  // Another configuration from now on. Clients keep their connections, and move to other pools at
  // their next transaction where the configuration says so; those who could not log in any more
  // end there. The backends of a cluster that is another one now end as soon as nobody uses them.
  void reconfigure(std::shared_ptr<const config::Config> config, Clusters clusters);
  // --- From the console (worker_console.cpp) ---
  ConsoleDesk& desk() { return desk_; }
  const std::vector<std::unique_ptr<Worker>>& all() const { return all_; }
  const Gates& gates() const { return *gates_; }
  // The gates have changed.
  void apply_gates();
  // Of this database, or of all when it is empty.
  void renew_backends(const std::string& database);
  void kill_clients(const std::string& database);
  // False when it is not one of this worker's.
  bool kill_client(std::uint32_t number);
  std::size_t backend_count() const { return backends_.size(); }
  // What this worker knows; the connections one by one only if asked for.
  void add_facts(console::Facts& facts, bool connections);
  // What the process knows.
  void add_process_facts(console::Facts& facts) const;
  std::uint32_t next_connection_number() {
    return (++last_connection_ * max_workers + static_cast<std::uint32_t>(index_)) & 0x7fffffffU;
  }

  // What is known about the hosts of a cluster has changed: who may be lent, who waits, and what
  // has come to its end.
  void on_topology(ClusterState& cluster);
  // Holds the pool or lets it go on, as its cluster is now.
  void follow(PoolContext& pool);
  // Does what the pools want done. To be called at the end of every callback.
  void settle();

  Hub& hub() { return hub_; }
  const config::Config& config() const { return *config_; }
  // Of this configuration.
  const std::shared_ptr<ClusterState>& state_of(const config::Cluster& cluster) const {
    return clusters_[static_cast<std::size_t>(&cluster - config_->clusters.data())];
  }
  net::Loop& loop() { return loop_; }
  TimePoint now() { return loop_.now(); }
  metrics::WorkerBlock& metrics() { return *metrics_; }
  session::Output& output() { return output_; }
  session::PreparedTable& statements() { return statements_; }
  session::Interner<session::SettingSet>& settings() { return settings_; }
  session::Interner<session::ReportedSet>& reported() { return reported_; }
  const session::SettingsPtr& no_settings() const { return no_settings_; }
  double random_unit();
  std::uint64_t next_session_number() {
    return (static_cast<std::uint64_t>(index_ + 1) << 48U) | ++last_session_;
  }

  // Where one burst is read into: what is left from before goes to the front.
  static constexpr std::size_t read_size = 32768;  // see doc/performance.md
  static constexpr std::size_t keep_size = 32768;
  char* buffer() { return buffer_.get(); }

  FrontConn* find_client(ClientId id) const { return clients_.find(id); }
  BackConn* find_backend(BackendId id) const { return backends_.find(id); }
  void remove_client(ClientId id);
  void remove_backend(BackendId id);
  // The pool for a client of this database and user; null when the database is not configured.
  // `proven`: see make_route.
  PoolContext* find_pool(const std::string& database, const std::string& user,
                         const auth::Credential& proven);
  // To be called after the pool was told anything: arms the timer, notes the actions.
  void touch(PoolContext& pool);
  void add_login_deadline(ClientId id, TimePoint deadline);
  void add_linger_deadline(ClientId id, TimePoint deadline);
  void add_backend_deadline(BackendId id, TimePoint deadline);
  void add_session_deadline(ClientId id, TimePoint deadline);
  // PBKDF2 in the thread pool; BackConn::on_derived is called when it is done.
  void derive_in_background(BackendId id, const login::Derivation& work);
  // FrontConn::on_password_checked is called when it is done.
  void check_password_in_background(ClientId id, auth::PasswordCheck check);
  Introductions& introductions() { return introductions_; }
  void add_refusal_deadline(ClientId id, TimePoint deadline);
  void fail_waiters(PoolContext& pool, const wire::ErrorReport& report);
  // Sends a CancelRequest for what the backend runs; BackConn::on_cancel_finished and `done` are
  // called when that is over.
  void send_cancel(BackendId backend, const net::Address& server, std::unique_ptr<tls::Engine> tls,
                   const wire::KeyData& key, std::function<void(bool sent)> done);
  // `requester`: the connection that brought the request, on this worker.
  void forward_cancel(const wire::CancelRequest& request, ClientId requester);
  // For the process that has taken over; nobody waits for it.
  void cancel_for_successor(const wire::KeyData& key);

 private:
  using Deadlines = std::deque<std::pair<TimePoint, ClientId>>;

  void run_tasks();
  void on_timer();
  void arm(TimePoint deadline);
  void do_actions(PoolContext& pool);
  void open_backend(PoolContext& pool, pool::Slot slot);
  void request_slot(PoolContext& pool, bool reserve);
  void free_slot(PoolContext& pool);
  // A place under the limits that the pool shares with others.
  bool take_quota(PoolContext& pool);
  void give_back_quota(const Quotas::MemberPtr& quota);
  void inherit(const Quotas::MemberPtr& quota);
  void pass_on(const std::vector<Quotas::Heir>& heirs);
  void note_room(const ClusterState& cluster, Target target);
  void surrender(PoolContext& pool, BackendId id);
  bool adopt(const std::string& key, BackendTransfer& transfer);
  // To the workers that were refused a place of this pool: ask again.
  void announce_free_slot(const std::string& key, const std::vector<std::size_t>& workers);
  bool may_be_a_peers(const wire::CancelRequest& request) const;
  void cancel_here(ClientId target, const std::function<void()>& done) const;
  void ask_predecessor(const wire::KeyData& key);
  void expire(TimePoint time);
  void drop_unused_pools();
  void check_drained();
  std::string key_of(Route& route) const;
  void reconfigure_pool(PoolContext& pool, Route route);
  void divide_minimum(Route& route) const;
  void fail_paused_waiters();
  static wire::ErrorReport timeout_report(const PoolContext& pool, bool at_login);

  Hub& hub_;
  std::shared_ptr<const config::Config> config_;
  Clusters clusters_;  // in the order of the configuration
  std::size_t index_;
  std::vector<std::unique_ptr<Worker>>& all_;
  net::Loop loop_;
  std::shared_ptr<metrics::WorkerBlock> metrics_;
  session::Output output_;
  std::unique_ptr<char[]> buffer_;  // NOLINT(modernize-avoid-c-arrays)
  session::PreparedTable statements_;
  session::Interner<session::SettingSet> settings_;
  session::Interner<session::ReportedSet> reported_;
  session::SettingsPtr no_settings_;
  std::shared_ptr<bool> alive_;  // for what may be called when the worker is gone
  GatesPtr gates_;
  std::uint64_t last_session_ = 0;
  std::uint32_t last_connection_ = 0;
  std::uint64_t random_state_;

  StringMap<std::unique_ptr<PoolContext>> pools_;  // by Route::pool_key
  std::vector<PoolContext*> touched_;
  std::vector<pool::Action> actions_;
  bool settling_ = false;
  Deadlines logins_;  // in order: the time allowed is the same for all
  Deadlines lingers_;
  template <class Id>
  struct Deadline {
    TimePoint at;
    Id id;
    bool operator<(const Deadline& other) const { return at > other.at; }
  };
  std::priority_queue<Deadline<BackendId>> backend_deadlines_;
  std::priority_queue<Deadline<ClientId>> refusals_;
  std::priority_queue<Deadline<ClientId>> session_deadlines_;
  TimePoint next_housekeeping_ = never;
  bool draining_ = false;
  std::function<void()> drained_;
  Departures* departures_ = nullptr;
  std::size_t leaving_ = 0;  // clients that the other process has not answered for

  std::mutex tasks_mutex_;
  std::vector<std::function<void(Worker&)>> tasks_;
  net::Async wake_;
  net::Timer timer_;
  SlotMap<FrontConn, ClientId> clients_;
  SlotMap<BackConn, BackendId> backends_;
  std::list<std::unique_ptr<CancelSender>> cancels_;
  ConsoleDesk desk_;
  Introductions introductions_;
  PeerCancels peer_cancels_;
};

}  // namespace dwspool::proxy
