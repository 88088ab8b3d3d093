// Both ends of TLS against a network that does as it likes: nothing crashes, and nothing that it
// has changed, left out or said twice is ever taken for what the other end has said.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "dwspool/tls/engine.h"

#include "fuzz/input.h"
#include "support/test_certificates.h"

using namespace dwspool;

namespace {

using State = tls::Engine::State;
constexpr std::string_view spoken = "nothing but this";

struct Contexts {
  std::shared_ptr<const tls::Context> server;
  std::shared_ptr<const tls::Context> client;
};

std::shared_ptr<const tls::Context> good(tls::Context::Made made) {
  fuzz::require(std::holds_alternative<std::shared_ptr<const tls::Context>>(made));
  return std::get<std::shared_ptr<const tls::Context>>(made);
}

Contexts make_contexts(tls::Version newest) {
  std::string folder = "/tmp/fuzz_tls_XXXXXX";
  fuzz::require(::mkdtemp(folder.data()) != nullptr);
  testing::TestCertificates made(folder);
  made.issue("server", "server", "DNS:db.example");
  tls::ServerOptions server;
  server.certificate = made.certificate("server");
  server.key = made.key("server");
  server.algorithms.max_version = newest;
  tls::ClientOptions client;
  client.root_certificate = made.ca();
  client.verify = true;
  client.algorithms.max_version = newest;
  Contexts contexts{good(tls::Context::server(server)), good(tls::Context::client(client))};
  for (const char* name : {"server.crt", "server.key", "ca.crt", "ca.key"}) {
    static_cast<void>(::remove((folder + '/' + name).c_str()));
  }
  static_cast<void>(::remove(folder.c_str()));
  return contexts;
}

struct End {
  explicit End(const std::shared_ptr<const tls::Context>& context) : engine(context, {}) {}

  void hear(std::string_view bytes) {
    if (engine.state() == State::failed || engine.state() == State::closed) return;
    std::vector<char> room(bytes.size() + tls::max_record);
    const std::size_t size = engine.receive(bytes, room.data(), room.size(), out);
    fuzz::require(size <= room.size());
    heard.append(room.data(), size);
  }
  void say() {
    if (said || engine.state() != State::established) return;
    const Slice slice{spoken.data(), spoken.size()};
    said = engine.send(&slice, 1, out);
  }

  tls::Engine engine;
  std::string out;
  std::string heard;
  bool said = false;
};

// One send of one end, as the network delivers it.
std::string deliver(std::string bytes, fuzz::Input& input) {
  switch (input.byte() % 8) {
    case 0:
      if (!bytes.empty())
        bytes[input.byte() * 7U % bytes.size()] ^= static_cast<char>(input.byte());
      break;
    case 1:
      bytes.resize(bytes.size() - bytes.size() * (input.byte() % 16U) / 16U);
      break;
    case 2:
      bytes += bytes;
      break;
    case 3:
      bytes.insert(0, input.bytes(input.byte()));
      break;
    case 4:
      bytes.append(input.bytes(input.byte()));
      break;
    default:
      break;  // as it is
  }
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::array<Contexts, 2> contexts = {make_contexts(tls::Version::tls_1_2),
                                                   make_contexts(tls::Version::tls_1_3)};
  fuzz::Input input(data, size);
  const std::uint8_t kind = input.byte();
  const Contexts& chosen = contexts[kind & 1U];
  End server(chosen.server);
  End client(chosen.client);
  if ((kind & 2U) != 0) {
    // Nobody but the network speaks.
    End& end = (kind & 4U) != 0 ? server : client;
    if ((kind & 4U) == 0) end.engine.start(end.out);
    while (!input.empty()) end.hear(input.bytes(input.byte() + 1U));
    fuzz::require(end.heard.empty() && !end.engine.handshake_done());
    return 0;
  }
  client.engine.start(client.out);
  for (int turn = 0; turn < 8; ++turn) {
    client.say();
    server.say();
    server.hear(deliver(std::exchange(client.out, {}), input));
    client.hear(deliver(std::exchange(server.out, {}), input));
    fuzz::require(spoken.starts_with(server.heard) && spoken.starts_with(client.heard));
  }
  return 0;
}
