// Leveled, structured logging. Every message has a stable event id (doc/events.md explains each),
// a sentence for humans and key/value fields for machines.
//
// Thread-safe. The core never logs: it returns what happened, the shell writes it.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

namespace dwspool {

enum class LogLevel : std::uint8_t { debug, info, warning, error };
enum class LogFormat : std::uint8_t { text, json };

std::string_view to_string(LogLevel level);

struct LogOptions {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::text;
  std::string file;  // empty: standard error
};

// A field of a log line. The views must live until write() returns. Never put a secret in one.
struct LogField {
  std::string_view key;
  std::string_view text;
  std::int64_t number = 0;
  bool is_number = false;

  LogField(std::string_view k, std::string_view v) : key(k), text(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), text(v) {}
  LogField(std::string_view k, const char* v) : key(k), text(v) {}
  LogField(std::string_view k, std::int64_t v) : key(k), number(v), is_number(true) {}
};

class Log {
 public:
  // Throws std::runtime_error when the log file cannot be opened.
  explicit Log(const LogOptions& options);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  bool enabled(LogLevel level) const { return level >= level_.load(std::memory_order_relaxed); }
  void set_level(LogLevel level) { level_.store(level, std::memory_order_relaxed); }

  // `event` is an id out of doc/events.md, of the form "area.what_happened".
  void write(LogLevel level, std::string_view event, std::string_view message,
             std::initializer_list<LogField> fields = {});

  // For events that a client can cause at will: at most `burst` lines of one event per ten
  // seconds are written, the rest is counted and the count shown with the next line.
  void write_limited(LogLevel level, std::string_view event, std::string_view message,
                     std::initializer_list<LogField> fields = {}, int burst = 10);

  void flush();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::atomic<LogLevel> level_;
};

}  // namespace dwspool
