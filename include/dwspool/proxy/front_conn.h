// A client connection: the shell around its start-up and its session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "dwspool/base/byte_queue.h"
#include "dwspool/base/ids.h"
#include "dwspool/base/time.h"

#include "dwspool/session/replayed_session.h"
#include "dwspool/session/startup_flow.h"
#include "dwspool/session/statement_timer.h"

#include "dwspool/net/address.h"
#include "dwspool/net/socket.h"

#include "dwspool/console/facts.h"
#include "dwspool/console/session.h"
#include "dwspool/proxy/client_record.h"
#include "dwspool/proxy/introductions.h"

namespace dwspool::proxy {

class BackConn;
class Worker;
struct PoolContext;
struct SharedSessions;

class FrontConn final : public net::Socket::Handler {
 public:
  // `by_proxy`: a header of the PROXY protocol comes first, and says who the peer is.
  FrontConn(Worker& worker, ClientId id, UniqueFd fd, const net::Address& peer, bool by_proxy);
  // One that comes from another process (front_handover.cpp): nothing is taken from it before
  // resume().
  FrontConn(Worker& worker, ClientId id, UniqueFd fd, const ClientRecord& record,
            PoolContext& pool);
  ~FrontConn();
  FrontConn(const FrontConn&) = delete;
  FrontConn& operator=(const FrontConn&) = delete;

  // --- From the socket ---
  void on_ready(bool readable, bool writable) override;

  // --- From the pool and the backend; the connection may end within any of them ---
  void on_granted(BackConn& backend);
  void on_acquire_failed(const wire::ErrorReport& report);
  void on_wait_notice();
  // Consumes from the front of `in`; the backend keeps the rest.
  void on_backend_bytes(std::string_view& in);
  void on_backend_lost(std::string_view cause);
  // The backend's socket takes more again.
  void on_backend_drained() { update_interest(); }

  // --- From the worker ---
  void drain();
  // The configuration has changed: the client may belong to another pool, or nowhere any more.
  void on_reconfigured();
  void on_login_timeout();
  // What check_password_in_background was asked.
  void on_password_checked(const auth::PasswordVerdict& verdict);
  // What Introductions was asked: who the client is, or whether its password is right.
  void on_introduced(const Introductions::Outcome& outcome);
  void on_proven(const Introductions::Outcome& outcome);
  // The time is up that a refusal takes.
  void on_refusal_due();
  void on_session_deadline();
  // Somebody asks to cancel what this client runs. `done` is called when that has been seen to.
  void cancel(const std::function<void()>& done);
  // Ends the connection now. Destroys *this.
  void destroy();
  // The same, but the client is told (57P01), and its backend goes with it.
  void kill();
  // Interest in events may have changed (suspended, or not any more).
  void on_gates_changed() { update_interest(); }
  // What another process needs to go on with the client; nothing while it is not at rest, or must
  // stay for another reason. From then on nothing is taken from it, until resume().
  std::optional<ClientRecord> leave();
  void resume();
  // What a command of the console came to.
  void on_console_answer(const console::Answer& answer);
  // The request to cancel that this connection brought has been passed on.
  void on_cancel_done();

  ClientId id() const { return id_; }
  bool logged_in() const { return session_ != nullptr || console_ != nullptr; }
  bool is_console() const { return console_ != nullptr; }
  console::ConnectionFacts facts() const;
  std::uint32_t number() const { return number_; }
  bool lingering() const { return lingering_; }
  const session::ReplayedSession* session() const { return session_.get(); }
  BackConn* backend() const { return backend_; }
  PoolContext* pool() const { return pool_; }
  const net::Address& peer() const { return peer_; }
  const std::string& user() const { return user_; }
  // Bytes that wait to be sent: while there are any, the backend is not read.
  bool output_full() const { return !out_.empty(); }

 private:
  friend class Worker;

  // How a user logs in whom the configuration does not know.
  struct Introduction {
    std::shared_ptr<ClusterState> cluster;  // that may know it
    std::optional<Acquaintances::Entry> known;
    bool passes_through = false;
    bool under_way = false;  // the look-up; nothing is taken from the client meanwhile
  };

  void read_some();
  // Both return false when the connection is gone.
  bool process(std::string_view& in);
  bool process_startup(std::string_view& in);
  bool process_proxy_header(std::string_view& in);
  bool start_tls(std::string_view received);
  bool may_come_in_clear();
  bool follow(session::StartupFlow::Need need, std::string_view& in);
  bool refuse_login();
  // front_access.cpp
  std::variant<auth::ClientMethod, wire::ErrorReport> admission() const;
  void note_tls_failure(const net::IoResult& result);
  bool check_login();
  bool ask_proof();
  // front_introduction.cpp
  std::unique_ptr<Introduction> introduction() const;
  void keep_proof(const auth::Credential& credential);
  PoolContext* find_own_pool(const std::string& database);
  bool look_up();
  bool prove_at_cluster();
  void refuse_introduction(const wire::ErrorReport& report);
  void go_on_logging_in(session::StartupFlow::Need need);
  void note_wrong_password();
  bool count_client(const std::string& database, wire::ErrorReport& report, bool beyond = false);
  bool start_session();
  bool start_console();
  bool process_console(std::string_view& in);
  bool end_by(wire::ErrorReport report);
  void adopt_pid();
  session::Next feed(std::string_view& in);
  bool run(session::Next next, std::string_view& in);
  bool acquire();
  void take_sessions();
  void end_session(std::string_view why);
  void go_on(session::Next next);
  void stop_waiting();
  void watch_deadline();
  void tally_replays();
  void report(const session::ReplayNote& note);
  void report_quarantine(const session::ReplayNote& note);
  // front_log.cpp
  void time_statement(std::string_view in);
  void log_slow_statement();
  void log_arrival(const std::string& database);
  void log_leaving();
  bool flush();
  bool send_to_client();
  bool finish();
  void give_back(bool abandoned = false);
  bool said_goodbye() const;
  void note_requests();
  void tally();
  void update_interest();
  void keep(std::string_view rest, bool from_queue);
  wire::ErrorReport too_many_clients() const;

  Worker& worker_;
  ClientId id_;
  std::uint32_t number_;  // over all workers
  net::Socket socket_;
  net::Address peer_;
  TimePoint accepted_at_;
  TimePoint request_started_;  // the oldest request not yet answered; `never` if none
  TimePoint transaction_started_;
  std::uint64_t answered_ = 0;  // requests
  std::unique_ptr<session::StartupFlow> startup_;
  std::shared_ptr<SharedSessions> sessions_;  // that the session refers to
  std::unique_ptr<session::ReplayedSession> session_;
  std::unique_ptr<console::Session> console_;       // in the place of a session
  std::unique_ptr<session::StatementTimer> timer_;  // while there is a log of slow statements
  TimePoint session_deadline_ = never;              // the one that the worker knows of
  PoolContext* pool_ = nullptr;
  BackConn* backend_ = nullptr;
  BackendId last_backend_;
  wire::KeyData key_;
  std::string user_;
  std::unique_ptr<Introduction> introduction_;
  auth::ClientMethod method_ = auth::ClientMethod::scram_sha_256;
  std::unique_ptr<const auth::Credential> proven_;  // see make_route; null if it is empty
  std::string delayed_;                             // a refusal that waits
  ByteQueue in_;
  ByteQueue out_;
  std::vector<std::string> counted_as_;  // by the limits of its database and user
  bool counted_ = false;                 // in Hub::clients
  bool by_proxy_ = false;                // its header is still to come
  bool lingering_ = false;  // the last word is said: reads to the end, so that it arrives
  bool pin_logged_ = false;
  bool moves_ = false;        // to another pool, when it is at rest
  bool leaves_ = false;       // to another process, or comes from one: nobody has it quite
  bool stays_ = false;        // the other process does not want it
  bool waiting_ = false;      // in the pool's queue
  bool input_ended_ = false;  // all is here, a Terminate at its end; it waits for its turn
  TimePoint wait_started_;
};

}  // namespace dwspool::proxy
