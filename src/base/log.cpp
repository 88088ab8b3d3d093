// The only file that knows spdlog.
#include "dwspool/base/log.h"

#include <chrono>
#include <map>
#include <mutex>
#include <stdexcept>

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "dwspool/base/text.h"

namespace dwspool {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// Text values are bare when that is unambiguous, else quoted as in JSON.
void append_text_value(std::string& out, std::string_view text) {
  bool bare = !text.empty();
  for (const char c : text) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == '\x7f') bare = false;
  }
  if (bare) {
    out.append(text);
  } else {
    append_json_string(out, text);
  }
}

}  // namespace

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
  }
  return "?";
}

struct Log::Impl {
  std::shared_ptr<spdlog::logger> logger;
  LogFormat format = LogFormat::text;

  struct Limit {
    std::chrono::steady_clock::time_point window_start;
    int written = 0;
    std::int64_t suppressed = 0;
  };
  std::mutex mutex;
  std::map<std::string, Limit, std::less<>> limits;

  void emit(LogLevel level, std::string_view event, std::string_view message,
            std::initializer_list<LogField> fields, std::int64_t suppressed);
};

Log::Log(const LogOptions& options) : impl_(std::make_unique<Impl>()), level_(options.level) {
  try {
    spdlog::sink_ptr sink;
    if (options.file.empty()) {
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } else {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file);
    }
    impl_->logger = std::make_shared<spdlog::logger>("dwspool", std::move(sink));
  } catch (const spdlog::spdlog_ex& error) {
    throw std::runtime_error(error.what());
  }
  impl_->format = options.format;
  impl_->logger->set_level(spdlog::level::trace);
  impl_->logger->flush_on(spdlog::level::info);
  if (options.format == LogFormat::json) {
    impl_->logger->set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z",%v})");
  } else {
    impl_->logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %z %v");
  }
}

Log::~Log() {
  impl_->logger->flush();
}

void Log::Impl::emit(LogLevel level, std::string_view event, std::string_view message,
                     std::initializer_list<LogField> fields, std::int64_t suppressed) {
  std::string line;
  line.reserve(160);
  if (format == LogFormat::json) {
    line += R"("level":)";
    append_json_string(line, to_string(level));
    line += R"(,"event":)";
    append_json_string(line, event);
    line += R"(,"message":)";
    append_json_string(line, message);
    for (const LogField& field : fields) {
      line += ',';
      append_json_string(line, field.key);
      line += ':';
      if (field.is_number) {
        line += std::to_string(field.number);
      } else {
        append_json_string(line, field.text);
      }
    }
    if (suppressed > 0) line += R"(,"suppressed":)" + std::to_string(suppressed);
  } else {
    line.append(to_string(level)).append(" [").append(event).append("] ").append(message);
    for (const LogField& field : fields) {
      line.append(" ").append(field.key).append("=");
      if (field.is_number) {
        line += std::to_string(field.number);
      } else {
        append_text_value(line, field.text);
      }
    }
    if (suppressed > 0) line += " suppressed=" + std::to_string(suppressed);
  }
  logger->log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

void Log::write(LogLevel level, std::string_view event, std::string_view message,
                std::initializer_list<LogField> fields) {
  if (!enabled(level)) return;
  impl_->emit(level, event, message, fields, 0);
}

void Log::write_limited(LogLevel level, std::string_view event, std::string_view message,
                        std::initializer_list<LogField> fields, int burst) {
  static constexpr std::chrono::seconds window{10};
  if (!enabled(level)) return;
  std::int64_t suppressed = 0;
  {
    const std::lock_guard lock(impl_->mutex);
    auto found = impl_->limits.find(event);
    if (found == impl_->limits.end()) {
      found = impl_->limits.emplace(std::string(event), Impl::Limit{}).first;
    }
    Impl::Limit& limit = found->second;
    const auto now = std::chrono::steady_clock::now();
    if (now - limit.window_start >= window) {
      limit.window_start = now;
      limit.written = 0;
    }
    if (limit.written >= burst) {
      ++limit.suppressed;
      return;
    }
    ++limit.written;
    std::swap(suppressed, limit.suppressed);
  }
  impl_->emit(level, event, message, fields, suppressed);
}

void Log::flush() {
  impl_->logger->flush();
}

}  // namespace dwspool
