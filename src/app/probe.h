// One log-in to a coordinator, by the machine that the daemon uses, but blocking.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "dwspool/config/config.h"
#include "dwspool/login/backend_login.h"

#include "dwspool/proxy/tls_store.h"

namespace dwspool::app {

struct ProbeResult {
  bool reachable = false;
  bool logged_in = false;
  double milliseconds = 0;  // from connect to ready
  std::string method;       // of authentication
  std::string tls;          // its version; empty for none
  std::string dialect;
  std::string server_version;
  // What it says of itself. Empty, or without a value, where it did not say.
  std::string role;                           // primary, standby
  std::optional<double> clock_ahead_seconds;  // of ours
  std::optional<double> round_trip_milliseconds;
  std::map<std::string, std::string> settings;  // limits, as pg_settings has them
  std::string problem;                          // why not; empty when logged in
  std::string sqlstate;                         // of the problem, if the server said one
  bool refused = false;                         // for who it is, or its password
  bool spent = false;                           // a password was, which counts towards a lock
  std::string lookup_problem;                   // of ProbeAccount::lookup; empty when all is well
};

struct ProbeTarget {
  const proxy::TlsStore& tls;
  const config::Cluster& cluster;
  const config::Coordinator& coordinator;
};

struct ProbeAccount {
  std::string database;
  std::string user;
  std::optional<Secret> password;
  // The question of auth_query, asked about the account itself; empty for none.
  std::string lookup;
};

// One attempt with the password, whatever comes of it.
ProbeResult probe(const ProbeTarget& target, const ProbeAccount& account);

}  // namespace dwspool::app
