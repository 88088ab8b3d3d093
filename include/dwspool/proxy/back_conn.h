// A backend connection: the shell around its log-in, its conversations of its own, and its time
// with clients.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dwspool/base/byte_queue.h"
#include "dwspool/base/ids.h"
#include "dwspool/base/time.h"

#include "dwspool/config/config.h"
#include "dwspool/login/backend_login.h"
#include "dwspool/login/encryption.h"
#include "dwspool/login/guard.h"
#include "dwspool/metrics/registry.h"
#include "dwspool/pool/pool.h"

#include "dwspool/session/backend.h"
#include "dwspool/session/cleaner.h"

#include "dwspool/net/connector.h"
#include "dwspool/net/socket.h"

#include "dwspool/cluster/topology.h"
#include "dwspool/console/facts.h"
#include "dwspool/proxy/hub.h"

namespace dwspool::proxy {

class FrontConn;
class Worker;
struct PoolContext;

// What a backend takes along when it moves to another worker.
struct BackendTransfer {
  UniqueFd fd;
  std::unique_ptr<net::TlsState> tls;
  session::Backend core;
  ByteQueue in;  // the front of a message
  cluster::HostId host = 0;
  std::uint32_t epoch = 0;  // of the host
  TimePoint opened_at;
};

class BackConn final : public net::Socket::Handler {
 public:
  // A connection to be opened for a slot of the pool.
  BackConn(Worker& worker, BackendId id, PoolContext& pool, pool::Slot slot);
  // One that another worker has handed over.
  BackConn(Worker& worker, BackendId id, PoolContext& pool, BackendTransfer transfer);
  ~BackConn();
  BackConn(const BackConn&) = delete;
  BackConn& operator=(const BackConn&) = delete;

  // Tries the hosts that the cluster names, one after the other; Pool::on_opened or on_open_failed
  // ends it.
  void open();
  void on_ready(bool readable, bool writable) override;

  // --- Lent to a client ---
  void lend(FrontConn& client) { client_ = &client; }
  // The client lets go. Gives the backend back to its pool, clean or by way of a cleaner, or
  // closes it. May destroy *this. `abandoned`: the client has gone without a word. Nobody is told
  // what became of what it left running, which is cancelled if it does not end by itself soon;
  // what was sent before a Terminate runs on, as it would on a direct connection.
  void take_back(bool abandoned);
  // Sends a burst; what the socket does not take is kept. False when the connection is lost.
  bool send(const GatherList& bytes);
  bool output_full() const { return !out_.empty(); }
  // The client's output is full, or is not any more.
  void pause_reading(bool paused);

  // --- Cancelling ---
  // Sends a CancelRequest for what runs now. The backend is lent to nobody until it is known to
  // have been dealt with. `done` is called then. `request` numbers what its client means: one
  // cancel at a time is enough for that.
  void cancel(std::uint64_t request, const std::function<void()>& done);
  // `dealt_with`: it cannot hit anything any more.
  void on_cancel_finished(bool dealt_with);

  // Whether its host serves the pool's target, and is what it was when this was opened, at the
  // address that it had then.
  bool may_be_lent() const;
  // It must not be lent: ends it, at once or when its client lets go. May destroy *this.
  void on_topology();
  // Idle, and its pool would open another at once, which its cluster wants to be elsewhere: then it
  // is counted as moved, and to be discarded.
  bool is_to_move();
  // Closes it, whatever it is doing for nobody. Precondition: no client has it. Destroys *this.
  void discard();

  // --- From the worker ---
  void on_deadline();
  // The keys that derive_in_background was asked for.
  void on_derived(const login::Derivation& work, const login::DerivedKeys& keys);
  // Closes with Terminate. Destroys *this; the slot must be free already.
  void close();
  BackendTransfer hand_over();
  void set_slot(pool::Slot slot) { slot_ = slot; }

  // --- From the console ---
  console::ConnectionFacts facts() const;
  int cancels_in_flight() const { return cancels_in_flight_; }
  void on_gates_changed() { update_interest(); }

  BackendId id() const { return id_; }
  pool::Slot slot() const { return slot_; }
  // Of its host.
  const std::string& label() const { return label_; }
  PoolContext& pool() { return pool_; }
  session::Backend& core() { return core_; }
  const session::Backend& core() const { return core_; }
  TimePoint deadline() const { return deadline_; }
  TimePoint opened_at() const { return opened_at_; }

 private:
  enum class State : std::uint8_t { opening, ready, cleaning };

  // Opening. Each may end in come_to_nothing() or failed(), which destroy *this.
  void ask_guard();
  bool has_turn();
  void refuse_held(wire::ErrorReport report);
  void try_next_host();
  void connect();
  void on_connected(UniqueFd fd, const std::string& error);
  void on_encryption_answer(std::string_view& in);
  void start_login();
  void tls_failed(const std::string& why);
  void on_login_progress(login::BackendLogin::Need need);
  void derive_keys();
  void on_logged_in();
  void on_login_failed();
  void host_failed(const std::string& why, metrics::OpenFailure reason);
  bool leads_to_host() const;
  void come_to_nothing(TimePoint not_before);
  void failed(const wire::ErrorReport& report);

  void read_some();
  bool process(std::string_view& in);
  void on_idle_bytes(std::string_view& in);
  // One that is not to be kept, since there are more than may be.
  void make_way();
  bool run_cleaner(session::Cleaner::State state);
  bool cleaned();
  void lost(const std::string& cause);
  bool flush_out();
  void update_interest();
  bool send_raw(std::string_view bytes);
  bool send_cancel(std::function<void(bool sent)> done);

  Worker& worker_;
  BackendId id_;
  PoolContext& pool_;
  pool::Slot slot_ = 0;
  State state_ = State::opening;
  session::Backend core_;
  std::unique_ptr<net::Socket> socket_;
  FrontConn* client_ = nullptr;
  ByteQueue in_;
  ByteQueue out_;
  TimePoint deadline_ = never;
  TimePoint cleaning_ends_ = never;
  TimePoint opening_since_;
  TimePoint opened_at_;
  cluster::HostId host_ = 0;
  std::uint32_t epoch_ = 0;  // of the host, when this was opened
  // Of the host's addresses, for which this is known to lead there.
  mutable std::uint32_t generation_ = 0;
  std::string label_;  // of the host
  std::shared_ptr<metrics::CoordinatorBlock> coordinator_metrics_;
  bool counted_in_cluster_ = false;
  bool paused_ = false;
  bool broken_ = false;  // a send has failed; to be dealt with at the next step
  bool counted_open_ = false;
  int cancels_in_flight_ = 0;
  bool cancel_lost_ = false;  // one may arrive whenever it likes: nobody else may be hit by it
  std::uint64_t cancelled_request_ = 0;  // the last one

  // While opening:
  struct Opening {
    std::vector<cluster::HostId> tried;
    std::unique_ptr<net::Connector> connector;
    login::Encryption encryption{TlsMode::disable};  // of the coordinator at hand
    bool asked_for_tls = false;                      // and not been answered yet
    std::optional<login::BackendLogin> login;
    std::uint32_t protocol = 0;
    // Of which the guard has not heard yet.
    std::optional<login::LoginGuard::Attempt> attempt;
    std::unique_ptr<Credentials::Turn> turn;
    TimePoint gives_up_at = never;  // while it waits for its turn
  };
  std::unique_ptr<Opening> opening_;
  std::unique_ptr<session::Cleaner> cleaner_;
};

}  // namespace dwspool::proxy
