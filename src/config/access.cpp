// `access`, with `hba_file` behind it: who may come in how.
#include <array>

#include "dwspool/base/text.h"

#include "config/files.h"
#include "config/hba.h"
#include "config/networks.h"
#include "config/sections.h"

namespace dwspool::config {
namespace {

using auth::AccessMethod;
using auth::AccessRule;
using Type = AccessRule::Type;

constexpr std::size_t max_hba_file = std::size_t{1} << 20U;

constexpr std::array types = {
    Choice<Type>{"any", Type::any},
    Choice<Type>{"local", Type::local},
    Choice<Type>{"host", Type::host},
    Choice<Type>{"hostssl", Type::hostssl},
    Choice<Type>{"hostnossl", Type::hostnossl},
};

constexpr std::array methods = {
    Choice<AccessMethod>{"auto", AccessMethod::automatic},
    Choice<AccessMethod>{"trust", AccessMethod::trust},
    Choice<AccessMethod>{"reject", AccessMethod::reject},
    Choice<AccessMethod>{"password", AccessMethod::password},
    Choice<AccessMethod>{"md5", AccessMethod::md5},
    Choice<AccessMethod>{"scram-sha-256", AccessMethod::scram_sha_256},
    Choice<AccessMethod>{"cert", AccessMethod::cert},
    Choice<AccessMethod>{"peer", AccessMethod::peer},
};

enum class Certificate : std::uint8_t { none, verify_ca, verify_full };
constexpr std::array certificates = {
    Choice<Certificate>{"none", Certificate::none},
    Choice<Certificate>{"verify-ca", Certificate::verify_ca},
    Choice<Certificate>{"verify-full", Certificate::verify_full},
};

std::vector<std::string> read_names(Reading& reading, Section& section, std::string_view key) {
  std::vector<std::string> names;
  for (const Item& item : section.list(key)) {
    std::optional<std::string> name = read_text(reading, item, "a name");
    if (name && check_name(reading, item.place, *name)) names.push_back(std::move(*name));
  }
  if (section.has(key) && names.empty() && section.clean()) {
    section.complain(key, "the list is empty; leave the key out for all of them");
  }
  return names;
}

// What both notations have to keep to. Empty, or what is wrong.
std::string problem_of(const AccessRule& rule, const ClientTls& tls) {
  const bool certificate = rule.method == AccessMethod::cert || rule.needs_certificate;
  if (certificate && tls.options.client_ca.empty()) {
    return "certificates of clients need 'client_ca' under 'tls'";
  }
  if (rule.type == Type::hostssl && tls.mode == TlsMode::disable) {
    return "hostssl matches nobody, since there is no 'tls'";
  }
  return {};
}

AccessRule read_rule(Reading& reading, Section& section) {
  AccessRule rule;
  rule.line = section.place().line;
  section.choice("type", types, rule.type);
  rule.databases = read_names(reading, section, "databases");
  rule.users = read_names(reading, section, "users");
  if (const auto text = section.text("address", "a network, as 10.0.0.0/8")) {
    Result<Network> network = parse_network(*text);
    if (!network) {
      section.complain("address", network.error().message);
    } else {
      rule.network = std::move(network->bytes);
      rule.prefix = network->prefix;
    }
  }
  section.choice("method", methods, rule.method);
  Certificate certificate = Certificate::none;
  section.choice("client_certificate", certificates, certificate);
  rule.needs_certificate = certificate != Certificate::none;
  rule.names_user = certificate == Certificate::verify_full;
  section.refuse_unknown();
  return rule;
}

void read_list(Reading& reading, Section& root, Config& config) {
  for (const Item& item : root.list("access")) {
    Section section = root.section_of(item, "access");
    AccessRule rule = read_rule(reading, section);
    if (!section.clean()) continue;
    if (rule.method == AccessMethod::peer && rule.type != Type::local) {
      section.complain("method", "peer needs 'type: local'");
    } else if (rule.type == Type::local && !rule.network.empty()) {
      section.complain("address", "a Unix socket has none");
    } else if ((rule.method == AccessMethod::cert || rule.needs_certificate) &&
               rule.type != Type::hostssl) {
      section.complain("certificates need 'type: hostssl'");
    } else if (std::string problem = problem_of(rule, config.client_tls); !problem.empty()) {
      section.complain(std::move(problem));
    }
    config.access.push_back(std::move(rule));
  }
}

void read_hba_file(Reading& reading, Section& root, const std::string& name, Config& config) {
  const std::string path = resolve_path(name, reading.report.file());
  const Result<std::string> text = read_file(path, max_hba_file);
  if (!text) {
    root.complain("hba_file", "cannot read " + path + ": " + text.error().message);
    return;
  }
  auto parsed = parse_hba(*text);
  if (const auto* const complaints = std::get_if<std::vector<HbaComplaint>>(&parsed)) {
    for (const HbaComplaint& each : *complaints) {
      root.complain("hba_file", path + ":" + std::to_string(each.line) + ": " + each.message);
    }
    return;
  }
  for (AccessRule& rule : std::get<std::vector<AccessRule>>(parsed)) {
    config.access.push_back(rule);
    // As in PostgreSQL, hostssl without TLS is no mistake: it matches nobody.
    if (rule.type == Type::hostssl && config.client_tls.mode == TlsMode::disable) continue;
    if (std::string problem = problem_of(rule, config.client_tls); !problem.empty()) {
      root.complain("hba_file", path + ":" + std::to_string(rule.line) + ": " + problem);
    }
  }
}

}  // namespace

void read_access(Reading& reading, Section& root, Config& config) {
  const bool has_list = root.has("access");
  read_list(reading, root, config);
  const std::optional<std::string> file = root.text("hba_file", "the name of a file");
  config.has_access_rules = has_list || file.has_value();
  if (!config.has_access_rules) return;
  if (file) read_hba_file(reading, root, *file, config);
  if (config.access.empty() && root.clean()) {
    root.complain(has_list ? "access" : "hba_file", "there is no rule, so nobody could log in");
  }
}

}  // namespace dwspool::config
