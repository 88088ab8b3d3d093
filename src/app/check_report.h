// What `dwspool check` has found, and how it is written.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dwspool/config/config.h"

#include "app/probe.h"

namespace dwspool::app {

struct CheckRow {
  std::string target;  // CN or dwspool
  std::string address;
  std::string user;
  std::string database;
  std::string purpose;  // auth_query; empty for clients
  bool good = false;
  std::string detail;                // in a sentence
  std::optional<ProbeResult> probe;  // of a coordinator
  std::string stock_client;          // why a stock libpq fails there; empty when it does not
  std::vector<std::string> advice;   // what to change
};

// What a coordinator's answers say against this configuration of the pool.
std::vector<std::string> advice_for(const ProbeResult& probe, const config::PoolSettings& pool);
// What to change for auth_query to work, by what became of its account; empty when it does.
std::vector<std::string> advice_for_auth_query(const ProbeResult& probe,
                                               const config::Cluster& cluster);
// Why libpq, and so psycopg2, cannot log in by this method; empty when it can.
std::string stock_client_problem(const std::string& method);
std::string summary_of(const ProbeResult& probe);

std::string as_table(const std::vector<CheckRow>& rows);
std::string as_json(const std::vector<CheckRow>& rows);

}  // namespace dwspool::app
