#include "dwspool/auth/access.h"

#include <algorithm>

namespace dwspool::auth {
namespace {

constexpr std::size_t v4_size = 4;

std::string_view without_mapping(std::string_view address) {
  static constexpr std::string_view mapped("\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
  return address.starts_with(mapped) ? address.substr(mapped.size()) : address;
}

bool lies_within(std::string_view address, std::string_view network, unsigned prefix) {
  if (address.size() != network.size()) return false;
  for (std::size_t i = 0; i < network.size() && prefix > 0; ++i) {
    const unsigned bits = std::min(prefix, 8U);
    const auto mask = static_cast<unsigned char>(0xff00U >> bits);
    const auto a = static_cast<unsigned char>(address[i]);
    const auto b = static_cast<unsigned char>(network[i]);
    if ((a & mask) != (b & mask)) return false;
    prefix -= bits;
  }
  return true;
}

bool is_of_type(AccessRule::Type type, const Origin& origin) {
  const bool local = origin.address.empty();
  switch (type) {
    case AccessRule::Type::any:
      return true;
    case AccessRule::Type::local:
      return local;
    case AccessRule::Type::host:
      return !local;
    case AccessRule::Type::hostssl:
      return !local && origin.tls;
    case AccessRule::Type::hostnossl:
      return !local && !origin.tls;
  }
  return false;
}

bool has(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

bool Network::includes(std::string_view address) const {
  return lies_within(without_mapping(address), bytes, prefix);
}

std::string_view to_string(AccessMethod method) {
  switch (method) {
    case AccessMethod::automatic:
      return "auto";
    case AccessMethod::reject:
      return "reject";
    case AccessMethod::trust:
      return "trust";
    case AccessMethod::password:
      return "password";
    case AccessMethod::md5:
      return "md5";
    case AccessMethod::scram_sha_256:
      return "scram-sha-256";
    case AccessMethod::cert:
      return "cert";
    case AccessMethod::peer:
      return "peer";
  }
  return "?";
}

bool matches(const AccessRule& rule, const Origin& origin, std::string_view database,
             std::string_view user) {
  if (!is_of_type(rule.type, origin)) return false;
  const bool every_database = rule.databases.empty() && !rule.same_user;
  if (!every_database && !has(rule.databases, database) && !(rule.same_user && database == user)) {
    return false;
  }
  if (!rule.users.empty() && !has(rule.users, user)) return false;
  if (rule.network.empty()) return true;
  const std::string_view address = without_mapping(origin.address);
  if (rule.network.size() == v4_size && address.size() != v4_size) return false;
  return lies_within(rule.network.size() == v4_size ? address : std::string_view(origin.address),
                     rule.network, rule.prefix);
}

const AccessRule* first_match(const std::vector<AccessRule>& rules, const Origin& origin,
                              std::string_view database, std::string_view user) {
  const auto found = std::find_if(rules.begin(), rules.end(), [&](const AccessRule& rule) {
    return matches(rule, origin, database, user);
  });
  return found == rules.end() ? nullptr : &*found;
}

}  // namespace dwspool::auth
