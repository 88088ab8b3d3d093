#include "config/networks.h"

#include <array>
#include <bit>
#include <charconv>
#include <optional>

#include <arpa/inet.h>

#include "dwspool/base/text.h"

namespace dwspool::config {
namespace {

std::optional<std::string> address_bytes(std::string_view text) {
  const std::string copy(text);
  std::array<char, 16> bytes{};
  if (::inet_pton(AF_INET, copy.c_str(), bytes.data()) == 1) return std::string(bytes.data(), 4);
  if (::inet_pton(AF_INET6, copy.c_str(), bytes.data()) == 1) return std::string(bytes.data(), 16);
  return std::nullopt;
}

Error no_address(std::string_view text) {
  return Error{"'" + printable(text) +
               "' is no IPv4 or IPv6 address; host names are not looked up here"};
}

// Bits behind the prefix would suggest that they count.
Result<Network> checked(std::string bytes, unsigned prefix) {
  for (std::size_t bit = prefix; bit < bytes.size() * 8; ++bit) {
    const auto byte = static_cast<unsigned char>(bytes[bit / 8]);
    if ((byte & (0x80U >> (bit % 8))) == 0) continue;
    return Error{"the address has bits behind its prefix of " + std::to_string(prefix) +
                 "; write the network's own address"};
  }
  return Network{std::move(bytes), prefix};
}

}  // namespace

Result<Network> parse_network(std::string_view text) {
  const std::size_t slash = text.find('/');
  std::optional<std::string> bytes = address_bytes(text.substr(0, slash));
  if (!bytes) return no_address(text.substr(0, slash));
  const auto all = static_cast<unsigned>(bytes->size() * 8);
  if (slash == std::string_view::npos) return Network{std::move(*bytes), all};
  const std::string_view digits = text.substr(slash + 1);
  unsigned prefix = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  if (failure != std::errc{} || end != digits.data() + digits.size() || prefix > all) {
    return Error{"behind the '/' stands a number of bits from 0 to " + std::to_string(all)};
  }
  return checked(std::move(*bytes), prefix);
}

Result<Network> parse_network(std::string_view address, std::string_view mask) {
  std::optional<std::string> bytes = address_bytes(address);
  if (!bytes) return no_address(address);
  const std::optional<std::string> bits = address_bytes(mask);
  if (!bits || bits->size() != bytes->size()) {
    return Error{"'" + printable(mask) + "' is no mask for this address"};
  }
  unsigned prefix = 0;
  bool ended = false;
  for (const char c : *bits) {
    const auto byte = static_cast<unsigned char>(c);
    const auto ones = static_cast<unsigned>(std::countl_one(byte));
    if ((ended && byte != 0) || static_cast<unsigned char>(byte << ones) != 0) {
      return Error{"'" + printable(mask) + "' is no mask: its ones must stand in front"};
    }
    prefix += ones;
    ended = ones < 8;
  }
  return checked(std::move(*bytes), prefix);
}

}  // namespace dwspool::config
