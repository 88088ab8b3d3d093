// From a YAML file to a Config, or to a list of everything that is wrong with it.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dwspool/config/config.h"

namespace dwspool::config {

// One complaint, with its place: "dwspool.yaml:12: clusters.main.dialekt: unknown key; did you
// mean 'dialect'?". Never holds a secret's value.
struct Complaint {
  std::string file;
  int line = 0;  // from 1; 0 when the whole file is meant
  std::string key;
  std::string message;

  std::string text() const;
};

using LoadResult = std::variant<Config, std::vector<Complaint>>;

// Reads and checks. Blocking: opens the file, and the secret, service and password files it
// names. Complains about all that is wrong, not just the first thing.
LoadResult load_file(const std::string& path);

// The same with the text given; `path` is for messages and for relative file names.
LoadResult load_text(std::string_view text, const std::string& path);

// Every key that is read, sorted; '*' stands for a name and "[]" for an item of a list:
// "clusters.*.dialect", "listen[].host". For whatever has to agree with the reader.
std::vector<std::string> known_keys();

}  // namespace dwspool::config
