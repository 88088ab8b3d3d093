// Looks after the hosts of one cluster: runs the probes that the topology asks for, on sessions of
// its own, and tells it what they found. Lives on the first worker's loop.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dwspool/net/loop.h"
#include "dwspool/net/timer.h"

#include "dwspool/proxy/cluster_state.h"
#include "dwspool/proxy/hub.h"
#include "dwspool/proxy/name_watch.h"
#include "dwspool/proxy/side_session.h"

namespace dwspool::proxy {

class Prober {
 public:
  Prober(Hub& hub, ClusterState& state, net::Loop& loop);

  // There may be something to do: to be called on the loop.
  void wake();

 private:
  enum class Question : std::uint8_t { version, capacity, role, role_by_rumour, alive };
  struct Watch {
    std::unique_ptr<SideSession> session;
    Question question = Question::role;
    bool knows_version = false;
    bool knows_capacity = false;
    bool simple = false;  // it does not answer the whole question
    bool fresh = false;
  };

  bool choose_account();
  void begin(cluster::HostId host);
  Question next_question(const Watch& watch) const;
  void ask(cluster::HostId host);
  void on_answer(cluster::HostId host, const SideSession::Answer& answer);
  void leave_removed();
  void discover();
  void on_nodes(const SideSession::Answer& answer);
  void on_no_admission(cluster::HostId host, const SideSession::Answer& answer);

  Hub& hub_;
  ClusterState& state_;
  net::Loop& loop_;
  NameWatch names_;
  net::Timer timer_;
  std::vector<Watch> watches_;
  std::optional<Account> account_;
  std::vector<std::string> refused_;  // names of accounts, with their databases
  bool blind_ = false;
  // Looking up coordinators:
  std::unique_ptr<SideSession> lookup_;
  TimePoint next_lookup_;
};

}  // namespace dwspool::proxy
