// The environment of this process with some variables changed, for one library call.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace dwspool::config {

struct VariableChange {
  std::string name;
  std::optional<std::string> value;  // nothing: not set

  friend bool operator==(const VariableChange&, const VariableChange&) = default;
};

// While it lives, getenv() shows the changed environment, to every thread. The pointer to the
// environment is exchanged; neither array is ever edited or freed, so that a getenv() going on in
// another thread ends well whichever of them it reads. Only one can live at a time: a second
// thread waits in the constructor. Whoever calls setenv() meanwhile loses what they set.
class MaskedEnvironment {
 public:
  explicit MaskedEnvironment(const std::vector<VariableChange>& changes);
  ~MaskedEnvironment();
  MaskedEnvironment(const MaskedEnvironment&) = delete;
  MaskedEnvironment& operator=(const MaskedEnvironment&) = delete;

 private:
  std::unique_lock<std::mutex> lock_;
  char** original_;
};

}  // namespace dwspool::config
