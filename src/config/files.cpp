#include "config/files.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "dwspool/base/secret.h"
#include "dwspool/base/unique_fd.h"

namespace dwspool::config {

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return Error{std::strerror(errno)};
  std::string content;
  std::array<char, 65536> chunk{};
  while (true) {
    const ssize_t count = ::read(file.get(), chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      wipe(content);
      return Error{std::strerror(errno)};
    }
    if (count == 0) return content;
    content.append(chunk.data(), static_cast<std::size_t>(count));
    if (content.size() > limit) {
      wipe(content);
      return Error{"larger than " + std::to_string(limit >> 10U) + " KiB"};
    }
  }
}

std::string resolve_path(std::string_view path, std::string_view beside) {
  const std::size_t slash = beside.rfind('/');
  if (path.starts_with('/') || slash == std::string_view::npos) return std::string(path);
  return std::string(beside.substr(0, slash + 1)) + std::string(path);
}

}  // namespace dwspool::config
