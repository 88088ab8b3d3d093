// Asks clusters who a client is whom no configuration knows: by auth_query what the client must
// prove to know, by pass_through whether the cluster lets it in. Of one worker; what is found out
// is kept in Hub::acquaintances, for all of them.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dwspool/base/hash.h"
#include "dwspool/base/secret.h"

#include "dwspool/wire/messages.h"

#include "dwspool/net/loop.h"

#include "dwspool/proxy/acquaintances.h"
#include "dwspool/proxy/cluster_state.h"
#include "dwspool/proxy/hub.h"
#include "dwspool/proxy/inquiry.h"

namespace dwspool::proxy {

class Introductions {
 public:
  // Either why not, in words for the client, or what is known now. 28P01: the password is wrong.
  struct Outcome {
    std::optional<wire::ErrorReport> refusal;
    Acquaintances::Entry known;
  };
  using Heard = std::function<void(const Outcome&)>;

  Introductions(Hub& hub, net::Loop& loop);
  ~Introductions();
  Introductions(const Introductions&) = delete;
  Introductions& operator=(const Introductions&) = delete;

  // `heard` is called once, never from within, unless the worker ends before. Who asks for the
  // same while it is being asked shares the answer.
  // False when too many wait already; nothing is called then.
  bool look_up(const std::shared_ptr<ClusterState>& cluster, const std::string& user, Heard heard);
  void prove(const std::shared_ptr<ClusterState>& cluster, const std::string& user,
             const std::string& database, const Secret& password, Heard heard);

  // Another configuration: clusters that are not among these any more are left alone.
  void forget(const Clusters& clusters);

 private:
  struct Lookup {
    std::string user;
    std::vector<Heard> heard;
  };
  struct Desk {
    std::shared_ptr<ClusterState> cluster;
    Account account;
    std::unique_ptr<Inquiry> inquiry;
    std::deque<Lookup> lookups;  // the first one is under way
  };
  struct Proof {
    std::shared_ptr<ClusterState> cluster;
    std::unique_ptr<Inquiry> inquiry;
    std::string user;
    Secret password;
    std::vector<Heard> heard;
  };
  using Answer = SideSession::Answer;

  void ask_next(Desk& desk);
  void on_looked_up(Desk& desk, const Answer& answer);
  void on_proven(const std::string& key, const Answer& answer);
  void keep(const std::string& key, const auth::Credential& credential);
  void end_proof(const std::string& key, const Outcome& outcome);
  wire::ErrorReport unavailable(const ClusterState& cluster, const Answer& answer);

  Hub& hub_;
  net::Loop& loop_;
  std::unordered_map<const ClusterState*, std::unique_ptr<Desk>> desks_;
  StringMap<Proof> proofs_;                        // by account and database
  std::vector<std::unique_ptr<Inquiry>> retired_;  // within whose callback we may be
  std::shared_ptr<Introductions*> self_;           // for what may come back when we are gone
};

}  // namespace dwspool::proxy
