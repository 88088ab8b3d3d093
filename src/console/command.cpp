#include "dwspool/console/command.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <vector>

#include "dwspool/base/text.h"

#include "dwspool/wire/sqlstate.h"

namespace dwspool::console {
namespace {

struct ShowWord {
  std::string_view word;
  Show what;
};
constexpr std::array show_words = {
    ShowWord{"help", Show::help},
    ShowWord{"config", Show::config},
    ShowWord{"databases", Show::databases},
    ShowWord{"pools", Show::pools},
    ShowWord{"clients", Show::clients},
    ShowWord{"servers", Show::servers},
    ShowWord{"users", Show::users},
    ShowWord{"version", Show::version},
    ShowWord{"peers", Show::peers},
    ShowWord{"peer_pools", Show::peer_pools},
    ShowWord{"fds", Show::fds},
    ShowWord{"sockets", Show::sockets},
    ShowWord{"active_sockets", Show::active_sockets},
    ShowWord{"lists", Show::lists},
    ShowWord{"mem", Show::mem},
    ShowWord{"state", Show::state},
    ShowWord{"dns_hosts", Show::dns_hosts},
    ShowWord{"dns_zones", Show::dns_zones},
    ShowWord{"stats", Show::stats},
    ShowWord{"stats_totals", Show::stats_totals},
    ShowWord{"stats_averages", Show::stats_averages},
    ShowWord{"totals", Show::totals},
    ShowWord{"coordinators", Show::coordinators},
    ShowWord{"pins", Show::pins},
    ShowWord{"replay", Show::replay},
};

enum class Argument : std::uint8_t { none, optional, required };
struct VerbWord {
  std::string_view word;
  Verb verb;
  Argument argument;
};
constexpr std::array verb_words = {
    VerbWord{"reload", Verb::reload, Argument::none},
    VerbWord{"pause", Verb::pause, Argument::optional},
    VerbWord{"resume", Verb::resume, Argument::optional},
    VerbWord{"reconnect", Verb::reconnect, Argument::optional},
    VerbWord{"wait_close", Verb::wait_close, Argument::optional},
    VerbWord{"disable", Verb::disable, Argument::required},
    VerbWord{"enable", Verb::enable, Argument::required},
    VerbWord{"kill", Verb::kill, Argument::required},
    VerbWord{"kill_client", Verb::kill_client, Argument::required},
    VerbWord{"suspend", Verb::suspend, Argument::none},
    VerbWord{"shutdown", Verb::shutdown, Argument::optional},
};

// What drivers set and ask for by themselves.
constexpr std::array<std::string_view, 13> client_settings = {
    "application_name",   "bytea_output",
    "client_encoding",    "client_min_messages",
    "datestyle",          "default_transaction_isolation",
    "extra_float_digits", "idle_session_timeout",
    "intervalstyle",      "search_path",
    "statement_timeout",  "standard_conforming_strings",
    "timezone",
};

constexpr std::array<std::string_view, 7> transaction_words = {"begin",    "start", "commit", "end",
                                                               "rollback", "abort", "discard"};

template <std::size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

struct Word {
  std::string text;  // lower case, unless it was quoted
  std::string_view raw;
  bool quoted = false;
};

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.' ||
         c == '*' || c == '/' || c == ':' || (static_cast<unsigned char>(c) & 0x80U) != 0;
}

// Words, quoted names, strings, and '=' and ',' by themselves. Nothing when a quote is not closed
// or there is something that no command has.
std::optional<std::vector<Word>> split(std::string_view text) {
  std::vector<Word> words;
  std::size_t i = 0;
  while (i < text.size()) {
    const char c = text[i];
    const std::size_t start = i;
    if (is_space(c)) {
      ++i;
    } else if (c == '"' || c == '\'') {
      std::string content;
      for (++i;; ++i) {
        if (i >= text.size()) return std::nullopt;
        if (text[i] == c) {
          if (i + 1 >= text.size() || text[i + 1] != c) break;
          ++i;
        }
        content += text[i];
      }
      ++i;
      words.push_back({std::move(content), text.substr(start, i - start), true});
    } else if (c == '=' || c == ',') {
      ++i;
      words.push_back({std::string(1, c), text.substr(start, 1), false});
    } else if (is_word(c)) {
      while (i < text.size() && is_word(text[i])) ++i;
      const std::string_view raw = text.substr(start, i - start);
      words.push_back({to_lower(raw), raw, false});
    } else {
      return std::nullopt;
    }
  }
  return words;
}

std::string upper(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return result;
}

wire::ErrorReport unknown(std::string_view text) {
  return wire::error_report(wire::sqlstate::syntax_error,
                            "invalid command '" + printable(text) + "', use SHOW HELP;");
}

// SET key = value, SET key TO 'value'; lists are for the client's own settings.
std::optional<Command> parse_set(const std::vector<Word>& words) {
  std::size_t i = 1;
  if (i < words.size() && (words[i].text == "session" || words[i].text == "local")) ++i;
  if (i >= words.size()) return std::nullopt;
  Command command;
  command.verb = Verb::set;
  command.argument = words[i++].text;
  if (is_one_of(command.argument, client_settings) || command.argument == "time") {
    command.verb = Verb::ignored;
    command.tag = "SET";
    return command;
  }
  if (i >= words.size() || (words[i].text != "=" && words[i].text != "to")) return std::nullopt;
  if (++i + 1 != words.size()) return std::nullopt;
  command.value = words[i].quoted ? words[i].text : std::string(words[i].raw);
  command.tag = "SET " + command.argument + "=" + command.value;
  return command;
}

std::optional<Command> parse_show(const std::vector<Word>& words) {
  if (words.size() != 2) return std::nullopt;
  Command command;
  command.tag = "SHOW";
  const std::string& what = words[1].text;
  const auto* const found = std::find_if(show_words.begin(), show_words.end(),
                                         [&](const ShowWord& each) { return each.word == what; });
  if (found != show_words.end()) {
    command.verb = Verb::show;
    command.what = found->what;
    return command;
  }
  if (!is_one_of(what, client_settings)) return std::nullopt;
  command.verb = Verb::show_client;
  command.argument = what;
  return command;
}

std::optional<Command> parse_shutdown(Command command) {
  if (command.argument.empty()) return command;
  const std::string mode = to_lower(command.argument);
  if (mode == "wait_for_servers") {
    command.mode = StopMode::wait_for_servers;
  } else if (mode == "wait_for_clients") {
    command.mode = StopMode::wait_for_clients;
  } else {
    return std::nullopt;
  }
  return command;
}

}  // namespace

bool Command::needs_admin() const {
  switch (verb) {
    case Verb::show:
      return what == Show::fds;
    case Verb::nothing:
    case Verb::show_client:
    case Verb::ignored:
      return false;
    case Verb::set:
    case Verb::reload:
    case Verb::pause:
    case Verb::resume:
    case Verb::reconnect:
    case Verb::wait_close:
    case Verb::disable:
    case Verb::enable:
    case Verb::kill:
    case Verb::kill_client:
    case Verb::suspend:
    case Verb::shutdown:
      return true;
  }
  return true;
}

std::variant<Command, wire::ErrorReport> parse(std::string_view text) {
  std::string_view rest = trim(text);
  while (rest.ends_with(';')) rest = trim(rest.substr(0, rest.size() - 1));
  if (rest.empty()) return Command{};
  const std::optional<std::vector<Word>> words = split(rest);
  if (!words || words->empty() || words->front().quoted) return unknown(rest);
  const std::string& first = words->front().text;
  std::optional<Command> command;
  if (first == "show" || first == "select") {
    command = parse_show(*words);
  } else if (first == "set") {
    command = parse_set(*words);
  } else if (is_one_of(first, transaction_words)) {
    command.emplace();
    command->verb = Verb::ignored;
    command->tag = first == "start"   ? "START TRANSACTION"
                   : first == "end"   ? "COMMIT"
                   : first == "abort" ? "ROLLBACK"
                                      : upper(first);
  } else {
    const auto* const found =
        std::find_if(verb_words.begin(), verb_words.end(),
                     [&](const VerbWord& each) { return each.word == first; });
    if (found == verb_words.end()) return unknown(rest);
    const std::size_t arguments = words->size() - 1;
    if (arguments == 0 && found->argument == Argument::required) {
      return wire::error_report(wire::sqlstate::syntax_error,
                                found->verb == Verb::kill_client
                                    ? "a client's id is required, see SHOW CLIENTS"
                                    : "a database is required");
    }
    if (arguments > 1 || (arguments == 1 && found->argument == Argument::none)) {
      return unknown(rest);
    }
    command.emplace();
    command->verb = found->verb;
    command->tag = upper(first);
    if (arguments == 1) {
      const Word& word = words->back();
      command->argument = word.quoted ? word.text : std::string(word.raw);
    }
    if (command->verb == Verb::shutdown) command = parse_shutdown(std::move(*command));
  }
  if (!command) return unknown(rest);
  return std::move(*command);
}

std::string_view help() {
  return "\n\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION"
         "\n\tSHOW PEERS|PEER_POOLS"
         "\n\tSHOW SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE"
         "\n\tSHOW DNS_HOSTS|DNS_ZONES"
         "\n\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS"
         "\n\tSHOW COORDINATORS|PINS|REPLAY"
         "\n\tSET key = arg"
         "\n\tRELOAD"
         "\n\tPAUSE [<db>]"
         "\n\tRESUME [<db>]"
         "\n\tDISABLE <db>"
         "\n\tENABLE <db>"
         "\n\tRECONNECT [<db>]"
         "\n\tKILL <db>"
         "\n\tKILL_CLIENT <client_id>"
         "\n\tSUSPEND"
         "\n\tSHUTDOWN"
         "\n\tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS"
         "\n\tWAIT_CLOSE [<db>]";
}

}  // namespace dwspool::console
