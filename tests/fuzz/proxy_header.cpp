// A header of the PROXY protocol: any bytes. What is told does not depend on how they are cut, nor
// on what follows; and nobody can make dwspool keep more than the limit.
#include "dwspool/wire/proxy_header.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "fuzz/input.h"

using namespace dwspool;
using Status = wire::ProxyHeader::Status;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const wire::ProxyHeader whole = wire::parse_proxy_header(bytes);
  const bool complete = whole.status == Status::complete;
  fuzz::require(!complete || (whole.size > 0 && whole.size <= bytes.size() &&
                              whole.size <= wire::max_proxy_header));
  fuzz::require(whole.source.empty() || whole.source.size() == 4 || whole.source.size() == 16);
  fuzz::require(bytes.size() < wire::max_proxy_header || whole.status != Status::incomplete);
  // The first decision stands, and comes at the end of the header or before.
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    const wire::ProxyHeader part = wire::parse_proxy_header(bytes.substr(0, cut));
    if (part.status == Status::incomplete) continue;
    fuzz::require(part.status == whole.status && part.size == whole.size &&
                  part.source == whole.source && part.source_port == whole.source_port);
    break;
  }
  return 0;
}
