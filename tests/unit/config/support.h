// What the tests of the configuration share.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dwspool/config/load.h"

namespace dwspool::config::testing {

// A folder that goes with its content.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "dwspool-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  std::string path(const std::string& name) const { return path_ + '/' + name; }

  // Returns the file's path.
  std::string write(const std::string& name, std::string_view content, mode_t mode = 0600) const {
    std::ofstream(path(name), std::ios::binary) << content;
    ::chmod(path(name).c_str(), mode);
    return path(name);
  }

 private:
  std::string path_;
};

// Sets a variable of the environment, or takes it away, and puts it back at the end.
class Variable {
 public:
  Variable(std::string name, const std::optional<std::string>& value) : name_(std::move(name)) {
    if (const char* const before = std::getenv(name_.c_str())) before_ = before;
    set(value);
  }
  ~Variable() { set(before_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const std::optional<std::string>& value) const {
    if (value) {
      ::setenv(name_.c_str(), value->c_str(), 1);
    } else {
      ::unsetenv(name_.c_str());
    }
  }

  std::string name_;
  std::optional<std::string> before_;
};

// A configuration in which nothing is wrong, but for the parts given.
struct Parts {
  std::string cluster = "{coordinators: [\"cn1:8000\"]}";
  std::string database = "{}";
  std::string user = "{password: secret}";
  std::string more = {};  // lines behind the three

  // The cluster stands in line 1, the database in line 2, the user in line 3.
  std::string text() const {
    return "clusters: {main: " + cluster + "}\ndatabases: {app: " + database +
           "}\nusers: {bob: " + user + "}\n" + more;
  }
};

inline std::string with_cluster(const std::string& cluster) {
  Parts parts;
  parts.cluster = cluster;
  return parts.text();
}
inline std::string with_database(const std::string& database) {
  Parts parts;
  parts.database = database;
  return parts.text();
}
inline std::string with_user(const std::string& user) {
  Parts parts;
  parts.user = user;
  return parts.text();
}
inline std::string with(const std::string& more) {
  Parts parts;
  parts.more = more;
  return parts.text();
}

// The complaints about a text, one per line, without the file's name: "3: users.bob: ...".
inline std::string complaints_about(std::string_view text, const std::string& path = "test.yaml") {
  const LoadResult result = load_text(text, path);
  std::string lines;
  if (const auto* const complaints = std::get_if<std::vector<Complaint>>(&result)) {
    for (const Complaint& complaint : *complaints) {
      if (!lines.empty()) lines += '\n';
      lines += complaint.text().substr(path.size() + 1);
    }
  }
  return lines;
}

// The text must load.
inline Config loaded(std::string_view text, const std::string& path = "test.yaml") {
  LoadResult result = load_text(text, path);
  if (const auto* const config = std::get_if<Config>(&result)) return *config;
  FAIL("does not load: " << complaints_about(text, path));
  return {};
}

// A file of the source tree.
inline std::string source_file(const std::string& name) {
  return std::string(DWSPOOL_SOURCE_DIR) + '/' + name;
}

inline std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace dwspool::config::testing
