// Questions to a cluster, one at a time, on whichever of its hosts answers: one that does not is
// followed by the next. The connection counts among those of the cluster, and keeps to the rate
// at which it takes new ones.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dwspool/net/loop.h"
#include "dwspool/net/timer.h"

#include "dwspool/proxy/cluster_state.h"
#include "dwspool/proxy/hub.h"
#include "dwspool/proxy/side_session.h"

namespace dwspool::proxy {

class Inquiry {
 public:
  using Answer = SideSession::Answer;
  using Done = SideSession::Done;

  Inquiry(Hub& hub, std::shared_ptr<ClusterState> cluster, net::Loop& loop);
  ~Inquiry();
  Inquiry(const Inquiry&) = delete;
  Inquiry& operator=(const Inquiry&) = delete;

  // Both take no longer than the cluster's connect_timeout. `done` is called once, never from
  // within, unless the inquiry is destroyed, which must not happen within `done`.
  // A statement with $1, see SideSession::ask_about; the session stays for the next one.
  void ask_about(const Account& account, std::string sql, std::string value, Done done);
  // Whether the account is let in. No session stays.
  void log_in(const Account& account, Done done);

 private:
  void begin(const Account& account, Done done);
  void next_host();
  void ask_host();
  void on_answer(const Answer& answer);
  void on_time();
  void leave_host();
  void finish(const Answer& answer);

  Hub& hub_;
  std::shared_ptr<ClusterState> cluster_;
  net::Loop& loop_;
  std::vector<std::unique_ptr<SideSession>> sessions_;  // by host
  std::vector<cluster::HostId> tried_;
  std::optional<cluster::HostId> host_;  // counted as one of its connections
  bool opened_ = false;
  Account account_;
  std::string sql_;  // empty: to log in only
  std::string value_;
  Done done_;
  TimePoint deadline_ = never;
  std::string last_failure_;
  net::Timer timer_;
};

}  // namespace dwspool::proxy
