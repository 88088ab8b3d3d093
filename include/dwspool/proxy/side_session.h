// A session of dwspool's own on one host, beside all pools: logs in when it is asked something,
// and stays for the next question.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dwspool/base/byte_queue.h"

#include "dwspool/login/backend_login.h"
#include "dwspool/login/encryption.h"
#include "dwspool/login/guard.h"

#include "dwspool/net/connector.h"
#include "dwspool/net/socket.h"
#include "dwspool/net/timer.h"

#include "dwspool/cluster/topology.h"
#include "dwspool/proxy/cluster_state.h"
#include "dwspool/proxy/hub.h"

namespace dwspool::proxy {

class SideSession final : public net::Socket::Handler {
 public:
  struct Answer {
    enum class Kind : std::uint8_t {
      rows,          // of a statement that succeeded
      error,         // of the statement; the session goes on
      no_session,    // connecting or logging in failed, or the session was lost
      no_admission,  // the host refuses this account, and will do so again
    };
    Kind kind = Kind::rows;
    std::vector<std::vector<std::string>> rows;                // NULL is an empty text
    cluster::Trouble trouble = cluster::Trouble::unreachable;  // no_session
    std::string sqlstate;
    std::string why;
    std::string hint;
    // no_admission: PostgreSQL refuses before anything is proven, with words that depend on whether
    // there is such a user. (DWS says of an account that it is locked.)
    bool reveals = false;
    bool fresh = false;  // a new log-in was made for it
    // Of log_in: what the host was satisfied with. Empty if it asked for nothing.
    auth::Credential credential;
  };
  using Done = std::function<void(const Answer&)>;

  SideSession(Hub& hub, ClusterState& state, net::Loop& loop, cluster::HostId host);
  ~SideSession();
  SideSession(const SideSession&) = delete;
  SideSession& operator=(const SideSession&) = delete;

  // One statement at a time. `done` is called once, never from within this call, unless the
  // question is withdrawn; it may ask the next one. How long it may take is the caller's to
  // bound. `account` counts where there is no session yet.
  void ask(const Account& account, std::string_view sql, Done done);
  // The same with a parameter, text, for $1. Names are looked up in pg_catalog only.
  void ask_about(const Account& account, std::string_view sql, std::string_view value, Done done);
  // Logs in, and out again. Precondition: there is no session.
  void log_in(const Account& account, Done done);
  // The question is withdrawn, and the session is over.
  void abort();

  // What the host turned out to be at the last log-in.
  Dialect dialect() const { return dialect_; }

  void on_ready(bool readable, bool writable) override;

 private:
  enum class State : std::uint8_t {
    closed,
    waiting,
    connecting,
    encrypting,  // asked for TLS
    login,
    asking,
    idle
  };

  void begin(const Account& account, std::string question, Done done);
  void open();
  void on_connected(UniqueFd fd, const std::string& error);
  void on_encryption_answer();
  void start_login();
  void reopen();
  bool may_log_in();
  bool has_turn();
  void hold(const wire::ErrorReport& report);
  void feed_login();
  void on_login_progress(login::BackendLogin::Need need);
  void derive();
  void on_derived(const login::DerivedKeys& keys);
  void note_refusal(const wire::ErrorReport& report);
  void on_logged_in();
  void on_login_failed();
  void send_question();
  void read_answer();
  void lost(const std::string& why);
  void finish();
  bool send(std::string_view bytes);
  bool flush();
  void close();

  Hub& hub_;
  ClusterState& state_of_cluster_;
  net::Loop& loop_;
  cluster::HostId host_;
  std::uint32_t generation_ = 0;  // of the host's addresses, when this connected
  State state_ = State::closed;
  Account account_;
  std::string question_;  // as messages; empty: to log in only
  Done done_;
  Answer answer_;
  bool failed_ = false;  // the statement
  Dialect dialect_ = Dialect::unknown;
  ByteQueue in_;
  ByteQueue out_;
  login::Encryption encryption_{TlsMode::disable};
  std::unique_ptr<net::Connector> connector_;
  std::unique_ptr<net::Socket> socket_;
  std::optional<login::BackendLogin> login_;
  std::optional<login::LoginGuard::Attempt> attempt_;  // of which the guard has not heard yet
  std::unique_ptr<Credentials::Turn> turn_;
  net::Timer timer_;
  std::shared_ptr<SideSession*> self_;  // for what may come back when the session is gone
};

}  // namespace dwspool::proxy
