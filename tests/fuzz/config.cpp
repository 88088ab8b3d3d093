// Any text as a configuration: complaints or a Config, and nothing else.
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "dwspool/config/load.h"

#include "fuzz/input.h"

using namespace dwspool;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // Files that a text could name are the operator's business, not a stranger's.
  if (text.find("_file") != std::string_view::npos ||
      text.find("conninfo") != std::string_view::npos) {
    return 0;
  }
  const config::LoadResult result = config::load_text(text, "fuzz.yaml");
  if (const auto* complaints = std::get_if<std::vector<config::Complaint>>(&result)) {
    fuzz::require(!complaints->empty());
    for (const config::Complaint& complaint : *complaints) fuzz::require(!complaint.text().empty());
  }
  return 0;
}
