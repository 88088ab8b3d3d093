// Who may come in how: rules in the manner of pg_hba.conf, of which the first that matches counts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dwspool::auth {

enum class AccessMethod : std::uint8_t {
  automatic,  // the user's own, else the one for all
  reject,
  trust,
  password,  // in clear, which needs TLS or a Unix socket unless said otherwise
  md5,
  scram_sha_256,
  cert,  // a certificate that names the user
  peer,  // the operating system's name of who is at the other end of a Unix socket
};
std::string_view to_string(AccessMethod method);

// How a client is connected.
// Addresses that begin with the same bits.
struct Network {
  std::string bytes;  // 4 or 16
  unsigned prefix = 0;

  // `address`: 4 or 16 bytes. An IPv4 address counts as itself when it is written as IPv6.
  bool includes(std::string_view address) const;
  friend bool operator==(const Network&, const Network&) = default;
};

struct Origin {
  std::string address;  // 4 or 16 bytes; empty: a Unix socket
  bool tls = false;
};

struct AccessRule {
  enum class Type : std::uint8_t { any, local, host, hostssl, hostnossl };
  Type type = Type::any;
  std::vector<std::string> databases;  // empty: all
  bool same_user = false;              // the database that has the user's name, too
  std::vector<std::string> users;      // empty: all
  std::string network;                 // 4 or 16 bytes; empty: from everywhere
  unsigned prefix = 0;                 // how many bits of it count
  AccessMethod method = AccessMethod::automatic;
  bool needs_certificate = false;  // clientcert=verify-ca
  bool names_user = false;         // clientcert=verify-full
  int line = 0;                    // where it is written, for the log
};

// IPv4 addresses that come as IPv6 (::ffff:192.0.2.1) count as IPv4.
bool matches(const AccessRule& rule, const Origin& origin, std::string_view database,
             std::string_view user);

// Null when none matches, which is a refusal.
const AccessRule* first_match(const std::vector<AccessRule>& rules, const Origin& origin,
                              std::string_view database, std::string_view user);

}  // namespace dwspool::auth
