#include "config/hba.h"

#include <algorithm>
#include <array>
#include <utility>

#include "dwspool/base/text.h"

#include "config/networks.h"

namespace dwspool::config {
namespace {

using auth::AccessMethod;
using auth::AccessRule;

// A word; a quoted one is nothing but a name, whatever it looks like.
struct Word {
  std::string text;
  bool quoted = false;

  bool is(std::string_view keyword) const { return !quoted && text == keyword; }
};
// What stands between blanks: words with commas between them.
using Field = std::vector<Word>;

class LineReader {
 public:
  LineReader(std::string_view line, int number) : rest_(line) { rule_.line = number; }

  // Empty, or what is wrong. `keep`: the line is a rule that counts.
  std::string run(bool& keep) {
    keep = false;
    if (std::string problem = split(); !problem.empty()) return problem;
    if (fields_.empty()) return {};
    for (const auto step : {&LineReader::type, &LineReader::databases, &LineReader::users,
                            &LineReader::address, &LineReader::method, &LineReader::options}) {
      if (std::string problem = (this->*step)(); !problem.empty()) return problem;
    }
    keep = !only_replication_;
    return check();
  }

  AccessRule take() { return std::move(rule_); }

 private:
  std::string split() {
    while (true) {
      while (!rest_.empty() && is_space(rest_.front())) rest_.remove_prefix(1);
      if (rest_.empty() || rest_.front() == '#') return {};
      Field field;
      if (std::string problem = read_field(field); !problem.empty()) return problem;
      fields_.push_back(std::move(field));
    }
  }

  std::string read_field(Field& field) {
    field.emplace_back();
    while (!rest_.empty() && !is_space(rest_.front()) && rest_.front() != '#') {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == ',') {
        field.emplace_back();
        while (!rest_.empty() && is_space(rest_.front())) rest_.remove_prefix(1);
      } else if (c == '"') {
        const std::size_t end = rest_.find('"');
        if (end == std::string_view::npos) return "a quote is not closed";
        field.back().text += rest_.substr(0, end);
        field.back().quoted = true;
        rest_.remove_prefix(end + 1);
      } else {
        field.back().text += c;
      }
    }
    for (const Word& word : field) {
      if (word.text.empty()) return "there is an empty name";
    }
    return {};
  }

  const Field* next() { return at_ < fields_.size() ? &fields_[at_++] : nullptr; }

  std::string type() {
    static constexpr std::array<std::pair<std::string_view, AccessRule::Type>, 4> types = {
        {{"local", AccessRule::Type::local},
         {"host", AccessRule::Type::host},
         {"hostssl", AccessRule::Type::hostssl},
         {"hostnossl", AccessRule::Type::hostnossl}}};
    const std::string& word = next()->front().text;
    if (word == "hostgssenc") return "dwspool has no GSSAPI encryption; leave the line out";
    if (word == "hostnogssenc") {
      rule_.type = AccessRule::Type::host;
      return {};
    }
    for (const auto& [name, value] : types) {
      if (word != name) continue;
      rule_.type = value;
      return {};
    }
    return "'" + printable(word) + "' is no type of connection: local, host, hostssl, hostnossl";
  }

  static std::string refuse_special(const Word& word) {
    if (word.quoted) return {};
    if (word.text.starts_with('+') || word.is("samerole") || word.is("samegroup")) {
      return "dwspool does not know which role is a member of which ('" + printable(word.text) +
             "'); name the users";
    }
    if (word.text.starts_with('@') || word.text.starts_with('/')) {
      return "'" + printable(word.text) + "' cannot be used here; write the names themselves";
    }
    return {};
  }

  std::string databases() {
    const Field* const field = next();
    if (field == nullptr) return "the database is missing";
    bool all = false;
    std::size_t replication = 0;
    for (const Word& word : *field) {
      if (std::string problem = refuse_special(word); !problem.empty()) return problem;
      if (word.is("all")) {
        all = true;
      } else if (word.is("sameuser")) {
        rule_.same_user = true;
      } else if (word.is("replication")) {
        ++replication;
      } else {
        rule_.databases.push_back(word.text);
      }
    }
    only_replication_ = replication == field->size();
    if (all) {
      rule_.databases.clear();
      rule_.same_user = false;
    }
    return {};
  }

  std::string users() {
    const Field* const field = next();
    if (field == nullptr) return "the user is missing";
    bool all = false;
    for (const Word& word : *field) {
      if (std::string problem = refuse_special(word); !problem.empty()) return problem;
      if (word.is("all")) {
        all = true;
      } else {
        rule_.users.push_back(word.text);
      }
    }
    if (all) rule_.users.clear();
    return {};
  }

  std::string address() {
    if (rule_.type == AccessRule::Type::local) return {};
    const Field* const field = next();
    if (field == nullptr) return "the address is missing";
    const Word& word = field->front();
    if (field->size() > 1) return "there can be one address only";
    if (word.is("all")) return {};
    if (word.is("samehost") || word.is("samenet")) {
      return "'" + word.text + "' cannot be used here; write the network itself";
    }
    const bool with_mask = word.text.find('/') == std::string::npos;
    Result<Network> network = Error{};
    if (with_mask) {
      const Field* const mask = next();
      if (mask == nullptr) return "the length of the network, or its mask, is missing";
      network = parse_network(word.text, mask->front().text);
    } else {
      network = parse_network(word.text);
    }
    if (!network) return network.error().message;
    rule_.network = std::move(network->bytes);
    rule_.prefix = network->prefix;
    return {};
  }

  std::string method() {
    const Field* const field = next();
    if (field == nullptr) return "the method is missing";
    const std::string& word = field->front().text;
    const std::optional<AccessMethod> method = access_method(word);
    if (!method) {
      return "dwspool does not have the method '" + printable(word) +
             "'; it has trust, reject, password, md5, scram-sha-256, cert and peer";
    }
    rule_.method = *method;
    return {};
  }

  std::string options() {
    while (const Field* const field = next()) {
      const std::string& word = field->front().text;
      if (word == "clientcert=verify-ca" || word == "clientcert=1") {
        rule_.needs_certificate = true;
      } else if (word == "clientcert=verify-full") {
        rule_.needs_certificate = rule_.names_user = true;
      } else if (word != "clientname=CN") {
        return "the option '" + printable(word) + "' is not known here";
      }
    }
    return {};
  }

  std::string check() const {
    const bool local = rule_.type == AccessRule::Type::local;
    if (rule_.method == AccessMethod::peer && !local) return "peer is for local connections only";
    if (rule_.method == AccessMethod::cert && rule_.type != AccessRule::Type::hostssl) {
      return "cert is for hostssl only";
    }
    if (rule_.needs_certificate && rule_.type != AccessRule::Type::hostssl) {
      return "clientcert is for hostssl only";
    }
    return {};
  }

  std::string_view rest_;
  std::vector<Field> fields_;
  std::size_t at_ = 0;
  bool only_replication_ = false;
  AccessRule rule_;
};

}  // namespace

std::optional<AccessMethod> access_method(std::string_view word) {
  if (word == "ident") return AccessMethod::peer;
  for (const AccessMethod method :
       {AccessMethod::reject, AccessMethod::trust, AccessMethod::password, AccessMethod::md5,
        AccessMethod::scram_sha_256, AccessMethod::cert, AccessMethod::peer}) {
    if (word == to_string(method)) return method;
  }
  return std::nullopt;
}

std::variant<std::vector<AccessRule>, std::vector<HbaComplaint>> parse_hba(std::string_view text) {
  std::vector<AccessRule> rules;
  std::vector<HbaComplaint> complaints;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    LineReader line(text.substr(0, end), number);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    bool keep = false;
    if (std::string problem = line.run(keep); !problem.empty()) {
      complaints.push_back({number, std::move(problem)});
    } else if (keep) {
      rules.push_back(line.take());
    }
  }
  if (!complaints.empty()) return complaints;
  return rules;
}

}  // namespace dwspool::config
