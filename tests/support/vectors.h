// Test vectors out of tests/data, and bytes out of the hexadecimal digits that they are written
// in.
#pragma once

#include <string>
#include <string_view>

#include <doctest/doctest.h>
#include <yaml-cpp/yaml.h>

#include "dwspool/base/text.h"

namespace dwspool::testing {

// JSON is YAML.
inline YAML::Node load_vectors(const std::string& file) {
  return YAML::LoadFile(std::string(DWSPOOL_SOURCE_DIR) + "/tests/data/" + file);
}

// The text of a field; the test fails when there is none.
inline std::string text_of(const YAML::Node& vector, const char* field) {
  INFO("field ", field);
  REQUIRE(vector[field].IsScalar());
  return vector[field].as<std::string>();
}

inline std::string unhex(std::string_view digits) {
  std::string bytes;
  REQUIRE(hex_decode(digits, bytes));
  return bytes;
}

}  // namespace dwspool::testing
