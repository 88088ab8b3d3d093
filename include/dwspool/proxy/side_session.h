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
    bool fresh = false;  // a new log-in was made for it
  };
  using Done = std::function<void(const Answer&)>;

  SideSession(Hub& hub, ClusterState& state, net::Loop& loop, cluster::HostId host);
  ~SideSession();
  SideSession(const SideSession&) = delete;
  SideSession& operator=(const SideSession&) = delete;

  // One statement at a time. `done` is called once, never from within this call, unless the
  // question is withdrawn; it may ask the next one. How long it may take is the caller's to
  // bound. `account` counts where there is no session yet.
  void ask(const Account& account, std::string sql, Done done);
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

  void open();
  void on_connected(UniqueFd fd, const std::string& error);
  void on_encryption_answer();
  void start_login();
  void reopen();
  bool may_log_in();
  void feed_login();
  void on_login_progress(login::BackendLogin::Need need);
  void derive();
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
  State state_ = State::closed;
  Account account_;
  std::string sql_;
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
  net::Timer timer_;
  std::shared_ptr<SideSession*> self_;  // for what may come back when the session is gone
};

}  // namespace dwspool::proxy
