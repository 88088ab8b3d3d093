#include "app/check_report.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <set>
#include <string_view>

#include "dwspool/base/text.h"

namespace dwspool::app {
namespace {

// Beyond this, time-outs and logs of two machines do not fit together.
constexpr double clock_tolerance_seconds = 2;

std::optional<std::int64_t> number_of(const ProbeResult& probe, const std::string& setting) {
  const auto found = probe.settings.find(setting);
  if (found == probe.settings.end()) return std::nullopt;
  std::int64_t number = 0;
  const char* const end = found->second.data() + found->second.size();
  const auto [rest, failure] = std::from_chars(found->second.data(), end, number);
  if (failure != std::errc{} || rest != end) return std::nullopt;
  return number;
}

std::string fixed(double value, int digits) {
  std::array<char, 64> text{};
  const int size = std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return std::string(text.data(), static_cast<std::size_t>(std::clamp(size, 0, 63)));
}

std::string seconds_text(Duration duration) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(duration).count()) + " s";
}

void advise_on_connections(const ProbeResult& probe, const config::PoolSettings& pool,
                           std::vector<std::string>& advice) {
  const auto most = number_of(probe, "max_connections");
  if (!most) return;
  const std::int64_t free = *most - number_of(probe, "superuser_reserved_connections").value_or(0);
  const std::int64_t wanted = std::int64_t{pool.size} + pool.reserve_size;
  if (wanted <= free) return;
  advice.push_back("the pool may open " + std::to_string(wanted) +
                   " connections, the server takes " + std::to_string(free) +
                   " (max_connections): lower pool_size or reserve_pool");
}

void advise_on_idling(const ProbeResult& probe, const config::PoolSettings& pool,
                      std::vector<std::string>& advice) {
  const std::int64_t limit = number_of(probe, "session_timeout").value_or(0);
  if (limit <= 0) return;
  const std::chrono::seconds server{limit};
  if (pool.server_idle_timeout > Duration::zero() && pool.server_idle_timeout < server) return;
  advice.push_back("the server ends idle sessions after " + std::to_string(limit) +
                   " s (session_timeout), the pool keeps them for " +
                   (pool.server_idle_timeout > Duration::zero()
                        ? seconds_text(pool.server_idle_timeout)
                        : std::string("ever")) +
                   ": set server_idle_timeout below that");
}

void append_field(std::string& out, std::string_view name) {
  if (out.back() != '{') out += ',';
  append_json_string(out, name);
  out += ':';
}

void append_text(std::string& out, std::string_view name, std::string_view value) {
  append_field(out, name);
  append_json_string(out, value);
}

void append_probe(std::string& out, const ProbeResult& probe) {
  append_field(out, "reachable");
  out += probe.reachable ? "true" : "false";
  if (!probe.logged_in) return;
  append_text(out, "method", probe.method);
  append_text(out, "tls", probe.tls);
  append_text(out, "dialect", probe.dialect);
  append_text(out, "server_version", probe.server_version);
  append_text(out, "role", probe.role);
  append_field(out, "login_milliseconds");
  out += fixed(probe.milliseconds, 3);
  for (const auto& [name, value] :
       {std::pair{"round_trip_milliseconds", probe.round_trip_milliseconds},
        std::pair{"clock_ahead_seconds", probe.clock_ahead_seconds}}) {
    if (!value) continue;
    append_field(out, name);
    out += fixed(*value, 3);
  }
  append_field(out, "settings");
  out += '{';
  for (const auto& [name, value] : probe.settings) append_text(out, name, value);
  out += '}';
}

}  // namespace

std::vector<std::string> advice_for(const ProbeResult& probe, const config::PoolSettings& pool) {
  std::vector<std::string> advice;
  advise_on_connections(probe, pool, advice);
  advise_on_idling(probe, pool, advice);
  if (std::abs(probe.clock_ahead_seconds.value_or(0)) > clock_tolerance_seconds) {
    advice.push_back("its clock is " + fixed(std::abs(*probe.clock_ahead_seconds), 1) + " s " +
                     (*probe.clock_ahead_seconds > 0 ? "ahead of" : "behind") +
                     " the one here: logs will not fit together; let NTP set both");
  }
  const std::int64_t attempts = number_of(probe, "failed_login_attempts").value_or(0);
  if (attempts > 0 && attempts < 3) {
    advice.push_back("the account locks after " + std::to_string(attempts) +
                     " wrong passwords (failed_login_attempts): be careful when it changes");
  }
  return advice;
}

std::vector<std::string> advice_for_auth_query(const ProbeResult& probe,
                                               const config::Cluster& cluster) {
  const std::string user = "\"" + cluster.auth_query.user + "\"";
  if (!probe.reachable) return {};  // not auth_query's fault
  if (probe.sqlstate == "42501") {
    return {"user " + user +
            " may not read what auth_query asks: let it read pg_authid, or write " +
            "'query' with a function that does (doc/auth.md)"};
  }
  if (!probe.lookup_problem.empty()) {
    return {"auth_query of cluster '" + cluster.name +
            "' cannot be run: correct its 'query', which is given a name, and answers it and its "
            "verifier"};
  }
  if (probe.sqlstate == "3D000") {
    return {"write as 'database' of auth_query one that the cluster has"};
  }
  if (probe.refused) {
    return {"auth_query of cluster '" + cluster.name + "': create user " + user +
            " there, or correct its password; users that are looked up cannot log in until then"};
  }
  return {};
}

std::string stock_client_problem(const std::string& method) {
  if (!method.starts_with("gaussdb")) return {};
  return "a stock libpq fails here (\"none of the server's SASL authentication mechanisms are "
         "supported\"), through dwspool it works";
}

std::string summary_of(const ProbeResult& probe) {
  if (!probe.reachable) return "does not answer: " + probe.problem;
  if (!probe.logged_in) return probe.problem;
  if (!probe.lookup_problem.empty()) {
    return "logs in, but the look-up fails: " + probe.lookup_problem;
  }
  std::string text = probe.dialect + " " + probe.server_version;
  if (!probe.role.empty()) text += ", " + probe.role;
  text += ", " + probe.method + ", " + (probe.tls.empty() ? "no TLS" : probe.tls);
  text += ", log-in " + fixed(probe.milliseconds, 0) + " ms";
  if (probe.round_trip_milliseconds) {
    text += ", round trip " + fixed(*probe.round_trip_milliseconds, 1) + " ms";
  }
  for (const char* name : {"max_connections", "session_timeout", "failed_login_attempts"}) {
    const auto found = probe.settings.find(name);
    if (found != probe.settings.end()) text += std::string(", ") + name + " " + found->second;
  }
  return text;
}

std::string as_table(const std::vector<CheckRow>& rows) {
  std::string out;
  const auto line = [&out](const std::string& target, const std::string& address,
                           const std::string& as, const std::string& result,
                           const std::string& detail) {
    const auto padded = [](std::string cell, std::size_t width) {
      if (cell.size() < width) cell.resize(width, ' ');
      return cell + ' ';
    };
    out += padded(target, 9) + padded(address, 24) + padded(as, 20) + padded(result, 6) + detail;
    out += '\n';
  };
  line("target", "address", "as", "result", "detail");
  std::set<std::string> advice;  // each once, whoever it is about
  for (const CheckRow& row : rows) {
    std::string detail = row.purpose.empty() ? row.detail : row.purpose + ": " + row.detail;
    if (!row.stock_client.empty()) detail += "; " + row.stock_client;
    line(row.target, row.address, row.user + "@" + row.database, row.good ? "ok" : "FAILED",
         detail);
    for (const std::string& each : row.advice) advice.insert(row.address + ": " + each);
  }
  if (!advice.empty()) out += "\nWhat to change:\n";
  for (const std::string& each : advice) out += "  " + each + "\n";
  return out;
}

std::string as_json(const std::vector<CheckRow>& rows) {
  const bool good = std::all_of(rows.begin(), rows.end(), [](const auto& row) { return row.good; });
  std::string out = std::string("{\"good\":") + (good ? "true" : "false") + ",\"checks\":[";
  for (const CheckRow& row : rows) {
    if (out.back() != '[') out += ',';
    out += '{';
    append_text(out, "target", row.target);
    append_text(out, "address", row.address);
    append_text(out, "user", row.user);
    append_text(out, "database", row.database);
    if (!row.purpose.empty()) append_text(out, "purpose", row.purpose);
    append_field(out, "good");
    out += row.good ? "true" : "false";
    append_text(out, "detail", row.detail);
    if (row.probe) append_probe(out, *row.probe);
    if (!row.stock_client.empty()) append_text(out, "stock_client", row.stock_client);
    append_field(out, "advice");
    out += '[';
    for (const std::string& each : row.advice) {
      if (out.back() != '[') out += ',';
      append_json_string(out, each);
    }
    out += "]}";
  }
  return out + "]}\n";
}

}  // namespace dwspool::app
