#include "config/conninfo.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include <libpq-fe.h>

#include "dwspool/base/text.h"

#include "config/endpoint.h"
#include "config/masked_environment.h"
#include "config/units.h"

namespace dwspool::config {
namespace {

struct FinishConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};
using Connection = std::unique_ptr<PGconn, FinishConnection>;
using Options = std::unique_ptr<PQconninfoOption, FreeOptions>;

using Said = std::map<std::string, std::string, std::less<>>;  // option name -> value

// A value that nobody can mean. As an option it makes libpq give up before it connects; in the
// environment it takes the place of libpq's defaults, so that they can be told from what was said.
constexpr const char* marker = "\x01 not said \x01";

// libpq looks at it last: after the service, the password file and all that might be wrong with the
// other options, but before it connects. Its own value is what the string itself says; that of a
// service cannot be had.
constexpr const char* stopping_option = "ssl_max_protocol_version";

std::string_view view(const char* text) {
  return text == nullptr ? std::string_view{} : std::string_view(text);
}

// What libpq says about a string that it cannot take apart, without the part that it quotes: that
// may be a piece of a password, wherever in the string the mistake is.
std::string without_quotes(std::string_view message) {
  // In full: missing "=" after "x" in connection info string.
  static constexpr std::string_view missing = "missing \"=\" after ";
  message = trim(message);
  std::string safe;
  if (message.starts_with(missing)) {
    safe = missing;
    message.remove_prefix(missing.size());
  }
  const std::size_t open = message.find('"');
  const std::size_t close = message.rfind('"');
  safe += message.substr(0, open);
  if (open != close) safe.append("\"...\"").append(message.substr(close + 1));
  return safe;
}

// The known option that the quoted part most probably stands for, or nothing.
std::string suggestion(std::string_view message) {
  const std::size_t open = message.find('"');
  const std::size_t close = message.rfind('"');
  const Options known(PQconninfoParse("", nullptr));
  if (!known || open == close || !message.starts_with("invalid connection option")) return {};
  std::vector<std::string> names;
  for (const PQconninfoOption* option = known.get(); option->keyword != nullptr; ++option) {
    names.emplace_back(option->keyword);
  }
  const std::string_view guess = nearest(message.substr(open + 1, close - open - 1), names);
  return guess.empty() ? "" : "; did you mean '" + std::string(guess) + "'?";
}

std::vector<VariableChange> changes_for(const PQconninfoOption* options, bool for_password) {
  // These would be made up, or looked up, where nothing is said. Not when a password is wanted.
  static constexpr std::array<std::string_view, 5> marked = {"user", "password", "passfile",
                                                             "dbname", "port"};
  std::vector<VariableChange> changes = {{"PGREQUIRESSL", std::nullopt}};
  for (const PQconninfoOption* option = options; option->keyword != nullptr; ++option) {
    const std::string_view keyword = option->keyword;
    if (option->envvar == nullptr || (for_password && keyword == "passfile")) continue;
    const bool mark =
        !for_password && std::find(marked.begin(), marked.end(), keyword) != marked.end();
    changes.push_back({option->envvar, mark ? std::optional<std::string>(marker) : std::nullopt});
  }
  return changes;
}

// Lets libpq go through the options as if to connect; it gives up right before it would. Null
// when it did not: then the caller must not go on.
Connection resolve(std::initializer_list<std::pair<const char*, const char*>> options,
                   const PQconninfoOption* known, bool for_password) {
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  for (const auto& [keyword, value] : options) {
    keywords.push_back(keyword);
    values.push_back(value);
  }
  keywords.insert(keywords.end(), {stopping_option, nullptr});
  values.insert(values.end(), {marker, nullptr});
  const MaskedEnvironment masked(changes_for(known, for_password));
  const int expand_dbname = for_password ? 0 : 1;
  Connection connection(PQconnectStartParams(keywords.data(), values.data(), expand_dbname));
  const bool stopped =
      PQstatus(connection.get()) == CONNECTION_BAD && PQsocket(connection.get()) < 0;
  return stopped ? std::move(connection) : nullptr;
}

Result<Said> said_by(const std::string& text) {
  char* complaint = nullptr;
  const Options parsed(PQconninfoParse(text.c_str(), &complaint));
  const std::unique_ptr<char, void (*)(void*)> owned(complaint, PQfreemem);
  if (!parsed) return Error{without_quotes(view(complaint)) + suggestion(view(complaint))};
  const Connection connection = resolve({{"dbname", text.c_str()}}, parsed.get(), false);
  if (!connection) return Error{"libpq cannot read it without connecting"};
  // From here on libpq quotes what stands in its right place, which is never the password.
  const std::string_view failure = PQerrorMessage(connection.get());
  if (failure.find(marker) == std::string_view::npos) return Error{std::string(trim(failure))};
  const Options resolved(PQconninfo(connection.get()));
  if (!resolved) return Error{"libpq is out of memory"};
  Said said;
  for (const PQconninfoOption* option = resolved.get(); option->keyword != nullptr; ++option) {
    // A default that is said has no other meaning than one that is not; a port may stand alone.
    const bool is_default =
        view(option->val) == view(option->compiled) && view(option->keyword) != "port";
    if (view(option->val).empty() || option->val == std::string_view(marker) || is_default) {
      continue;
    }
    said.emplace(option->keyword, option->val);
  }
  for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
    if (view(option->keyword) != stopping_option) continue;
    said.erase(stopping_option);
    if (!view(option->val).empty()) said.emplace(stopping_option, option->val);
  }
  return said;
}

std::vector<std::string> split_list(std::string_view list) {
  std::vector<std::string> items;
  while (true) {
    const std::size_t comma = list.find(',');
    items.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) return items;
    list.remove_prefix(comma + 1);
  }
}

// Takes the options one by one; what nobody took is what dwspool cannot do.
class Interpreter {
 public:
  explicit Interpreter(Said said) : said_(std::move(said)) {}

  Conninfo run() {
    take("service");
    result_.database = take("dbname");
    result_.user = take("user");
    result_.passfile = take("passfile");
    if (std::string password = take("password"); !password.empty()) {
      result_.password = Secret(std::move(password));
    }
    hosts();
    times();
    encryption();
    refuse_rest();
    return std::move(result_);
  }

 private:
  std::string take(std::string_view keyword) {
    const auto found = said_.find(keyword);
    if (found == said_.end()) return {};
    std::string value = std::move(found->second);
    said_.erase(found);
    return value;
  }

  void problem(std::string sentence) { result_.problems.push_back(std::move(sentence)); }

  // libpq has checked that the lists fit together.
  void hosts() {
    const std::string host_list = take("host");
    const std::string address_list = take("hostaddr");
    const std::string port_list = take("port");
    if (host_list.empty() && address_list.empty()) {
      if (!port_list.empty()) problem("it names a port, but no host");
      return;
    }
    const std::vector<std::string> names = split_list(host_list);
    const std::vector<std::string> addresses = split_list(address_list);
    const std::vector<std::string> ports = split_list(port_list);
    for (std::size_t i = 0; i < std::max(names.size(), addresses.size()); ++i) {
      const std::string& name = i < names.size() ? names[i] : std::string();
      const std::string& address = i < addresses.size() ? addresses[i] : std::string();
      add_host(name, address, ports.size() > 1 ? ports[i] : ports.front());
    }
  }

  void add_host(const std::string& name, const std::string& address, const std::string& port) {
    ConninfoHost host;
    host.name = name.empty() ? address : name;
    host.coordinator.host = address.empty() ? name : address;
    if (!address.empty() && !name.empty()) host.coordinator.tls_name = name;
    const bool is_dir = host.coordinator.host.starts_with('/');
    const std::string_view bad =
        is_dir ? unix_dir_problem(host.coordinator.host) : host_problem(host.coordinator.host);
    if (!bad.empty()) {
      problem("it has an entry among its hosts that cannot be used: " + std::string(bad));
      return;
    }
    // Not Coordinator's default: an unsaid port means here what it means to libpq.
    const Result<std::uint16_t> number = parse_port(port.empty() ? "5432" : port);
    if (!number || *number == 0) {
      problem("it has a port that is no number from 1 to 65535");
      return;
    }
    host.coordinator.port = *number;
    result_.hosts.push_back(std::move(host));
  }

  std::optional<std::uint64_t> take_count(std::string_view keyword, std::uint64_t max) {
    const std::string value = take(keyword);
    if (value.empty()) return std::nullopt;
    const Result<std::uint64_t> number = parse_whole_number(value);
    if (number && *number >= 1 && *number <= max) return *number;
    problem("its " + std::string(keyword) + " must be a number from 1 to " + std::to_string(max));
    return std::nullopt;
  }

  std::optional<Duration> take_seconds(std::string_view keyword, std::uint64_t max) {
    const std::optional<std::uint64_t> count = take_count(keyword, max);
    if (!count) return std::nullopt;
    return std::chrono::seconds{*count};
  }

  void times() {
    result_.connect_timeout = take_seconds("connect_timeout", 3600);
    if (const std::string on = take("keepalives"); !on.empty() && on != "1") {
      problem("keepalives cannot be switched off");
    }
    result_.keepalive_idle = take_seconds("keepalives_idle", 32767);
    result_.keepalive_interval = take_seconds("keepalives_interval", 32767);
    if (const auto count = take_count("keepalives_count", 127)) {
      result_.keepalive_count = static_cast<int>(*count);
    }
  }

  void take_if(std::string_view keyword, std::initializer_list<std::string_view> values) {
    const auto found = said_.find(keyword);
    if (found == said_.end()) return;
    if (std::find(values.begin(), values.end(), found->second) != values.end()) said_.erase(found);
  }

  void encryption() {
    ServerTls tls;
    bool said = false;
    const auto take_tls = [&](std::string_view keyword, std::string& value) {
      std::string taken = take(keyword);
      if (taken.empty()) return false;
      said = true;
      value = std::move(taken);
      return true;
    };
    std::string value;
    if (take_tls("sslmode", value)) {
      for (const TlsMode mode : {TlsMode::disable, TlsMode::allow, TlsMode::prefer,
                                 TlsMode::require, TlsMode::verify_ca, TlsMode::verify_full}) {
        if (to_string(mode) == value) tls.mode = mode;
      }
    }
    take_tls("sslrootcert", tls.options.root_certificate);
    take_tls("sslcrl", tls.options.crl);
    take_tls("sslcert", tls.options.certificate);
    take_tls("sslkey", tls.options.key);
    if (tls.options.certificate.empty() != tls.options.key.empty()) {
      problem("sslcert and sslkey belong together; name both");
    }
    if (take_tls("sslsni", value)) tls.send_sni = value != "0";
    if (take_tls("ssl_min_protocol_version", value)) {
      version("ssl_min_protocol_version", value, tls.options.algorithms.min_version);
    }
    if (take_tls(stopping_option, value)) {
      version(stopping_option, value, tls.options.algorithms.max_version);
    }
    take_if("channel_binding", {"disable", "prefer"});
    take_if("sslcompression", {"0"});
    if (said) result_.tls = std::move(tls);
  }

  void version(std::string_view keyword, const std::string& value, tls::Version& version) {
    if (value == "TLSv1.2") {
      version = tls::Version::tls_1_2;
    } else if (value == "TLSv1.3") {
      version = tls::Version::tls_1_3;
    } else {
      problem("its " + std::string(keyword) + " must be TLSv1.2 or TLSv1.3");
    }
  }

  void refuse_rest() {
    take_if("gssencmode", {"disable", "prefer"});
    take_if("target_session_attrs", {"any"});
    for (const auto& [keyword, value] : said_) {
      problem("its " + keyword + " would have no effect in dwspool; leave it out");
    }
  }

  Said said_;
  Conninfo result_;
};

}  // namespace

Result<Conninfo> parse_conninfo(const std::string& text) {
  Result<Said> said = said_by(text);
  if (!said) return said.error();
  return Interpreter(std::move(*said)).run();
}

std::optional<Secret> find_password(std::string_view host, std::uint16_t port,
                                    std::string_view database, std::string_view user,
                                    std::string_view passfile) {
  const Options known(PQconninfoParse("", nullptr));
  if (!known || user.empty()) return std::nullopt;
  const std::string host_text(host);
  const std::string port_text = std::to_string(port);
  const std::string user_text(user);
  const std::string database_text(database.empty() ? user : database);
  const std::string passfile_text(passfile);
  const Connection connection = resolve({{"host", host_text.c_str()},
                                         {"port", port_text.c_str()},
                                         {"user", user_text.c_str()},
                                         {"dbname", database_text.c_str()},
                                         {"passfile", passfile_text.c_str()}},
                                        known.get(), true);
  if (!connection) return std::nullopt;
  const std::string_view password = view(PQpass(connection.get()));
  if (password.empty()) return std::nullopt;
  return Secret(password);
}

}  // namespace dwspool::config
