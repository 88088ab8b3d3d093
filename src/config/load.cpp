#include "dwspool/config/load.h"

#include <array>
#include <utility>

#include "config/document.h"
#include "config/files.h"
#include "config/reader.h"
#include "config/sections.h"

namespace dwspool::config {
namespace {

constexpr std::array log_levels = {
    Choice<LogLevel>{"debug", LogLevel::debug},
    Choice<LogLevel>{"info", LogLevel::info},
    Choice<LogLevel>{"warning", LogLevel::warning},
    Choice<LogLevel>{"error", LogLevel::error},
};

constexpr std::array log_formats = {
    Choice<LogFormat>{"text", LogFormat::text},
    Choice<LogFormat>{"json", LogFormat::json},
};

constexpr std::array connection_logs = {
    Choice<LogConnections>{"none", LogConnections::none},
    Choice<LogConnections>{"sampled", LogConnections::sampled},
    Choice<LogConnections>{"all", LogConnections::all},
};

// A file with one entry in everything that takes entries: reading it asks for every key.
constexpr std::string_view one_of_each =
    "listen: [{}]\naccess: [{}]\nhttp: {}\npeers: [{}]\n"
    "clusters: {a: {coordinators: [{}], discovery: {address_map: [{}]}, replay: {refusals: "
    "[{}]}}}\n"
    "databases: {a: {}}\nusers: {a: {}}\n"
    "console: {}\n";

// In this order, as the later parts are checked against the earlier ones.
Config read_config(Reading& reading, const TreeNode& document) {
  Config config;
  config.file = reading.report.file();
  Section root(reading, &document, {}, "");
  read_listeners(reading, root, config);
  read_process(root, config);
  read_client_tls(reading, root, config.client_tls);
  read_access(reading, root, config);
  read_log(root, config);
  read_http(reading, root, config);
  read_peers(reading, root, config);
  read_clusters(reading, root, config);
  read_defaults(root, config);
  read_databases(root, config);
  read_users(reading, root, config);
  read_console(reading, root, config);
  root.refuse_unknown();
  return config;
}

std::vector<Complaint> one_complaint(const std::string& path, int line, std::string message) {
  return {{path, line, "", std::move(message)}};
}

}  // namespace

void read_log(Section& root, Config& config) {
  Section section = root.section("log");
  section.choice("level", log_levels, config.log.level);
  section.choice("format", log_formats, config.log.format);
  section.choice("connections", connection_logs, config.log_connections);
  read_slow_statement(section, config.slow_statement);
  if (const auto file = section.text("file", "the name of a file"); file && !file->empty()) {
    config.log.file = resolve_path(*file, config.file);
  }
  section.refuse_unknown();
}

void read_process(Section& root, Config& config) {
  const DurationRange range{shortest_time, std::chrono::hours{24}, false};
  root.number("workers", {1, 64}, config.workers);
  root.number("max_client_conn", {1, 1000000}, config.max_client_conn);
  root.duration("client_login_timeout", range, config.client_login_timeout);
  root.duration("shutdown_timeout", range, config.shutdown_timeout);
  root.duration("handover_time", {range.min, std::chrono::hours{24}, true}, config.handover_time);
  read_keepalive(root, config.client_keepalive);
  std::optional<AuthMethod> method;
  read_auth_method(root, "auth_method", method);
  config.auth_method = method.value_or(config.auth_method);
  root.number("auth_failure_limit", {0, 1000000}, config.auth_failure_limit);
  if (const auto allowed = root.boolean("allow_cleartext_passwords")) {
    config.cleartext_passwords = *allowed;
  }
}

std::string Complaint::text() const {
  std::string text = file;
  if (line > 0) text += ':' + std::to_string(line);
  if (!key.empty()) text += ": " + key;
  return text + ": " + message;
}

LoadResult load_file(const std::string& path) {
  Result<std::string> content = read_file(path, DocumentLimits{}.bytes);
  if (!content) return one_complaint(path, 0, "cannot read: " + content.error().message);
  LoadResult result = load_text(*content, path);
  wipe(*content);
  return result;
}

LoadResult load_text(std::string_view text, const std::string& path) {
  const DocumentResult document = parse_document(text);
  if (const auto* failure = std::get_if<SyntaxError>(&document)) {
    return one_complaint(path, failure->line, failure->message);
  }
  const auto& root = std::get<TreeNode>(document);
  if (root.kind == TreeNode::Kind::null) return one_complaint(path, 0, "the file is empty");
  if (root.kind != TreeNode::Kind::map) {
    return one_complaint(path, root.line,
                         "expected keys with values, found " + std::string(describe(root.kind)));
  }
  Reading reading(path);
  Config config = read_config(reading, root);
  std::vector<Complaint> complaints = reading.report.take();
  if (!complaints.empty()) return complaints;
  return config;
}

std::vector<std::string> known_keys() {
  const DocumentResult document = parse_document(one_of_each);
  Reading reading("");
  read_config(reading, std::get<TreeNode>(document));
  return {reading.known.begin(), reading.known.end()};
}

}  // namespace dwspool::config
