// One TLS connection as a machine over memory: bytes of the network go in and come out, and so do
// those of the application. It knows no socket, no clock and no log.
//
//   shaking hands ─► established ─► closed (by the other end)
//             any ─► failed
//
// Keeps no buffers between two calls while nothing is half said: an idle connection costs what
// libssl's own state costs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dwspool/base/gather_list.h"

#include "dwspool/tls/context.h"

namespace dwspool::tls {

// The protocol's name in ALPN.
inline constexpr std::string_view alpn_protocol = "postgresql";

// What plain bytes can at most come out behind the encrypted ones of one call: the record that
// has been waiting for its end.
inline constexpr std::size_t max_record = 16384 + 512;

struct EngineOptions {
  // Server: the connection began with TLS and not with a request for it, which is allowed only to
  // those who say by ALPN what they mean.
  bool require_alpn = false;
  // Client: whom we connect to, by name or address; goes into SNI when it is a name.
  std::string host;
  bool verify_host = false;  // the certificate must be that host's
  bool send_sni = true;
};

// The names in the other end's certificate, which has been verified.
struct PeerNames {
  std::string common_name;                     // empty if there is none
  std::vector<std::string> alternative_names;  // DNS names and mail addresses

  // Never true of the empty name.
  bool include(std::string_view name) const;
};

class Engine {
 public:
  Engine(std::shared_ptr<const Context> context, const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  enum class State : std::uint8_t { shaking_hands, established, closed, failed };
  State state() const { return state_; }
  // Whether it has ever been established.
  bool handshake_done() const { return handshake_done_; }
  // After `failed`: why, for a log line or the text of an error.
  const std::string& failure() const { return failure_; }

  // The client's first words. `to_network` grows, here and below.
  void start(std::string& to_network);

  // Takes in what came from the network, all of it, and returns how many plain bytes it has put
  // into `plain`. Precondition: room >= from_network.size() + max_record. Plain bytes may come
  // together with the end, or in front of a failure.
  std::size_t receive(std::string_view from_network, char* plain, std::size_t room,
                      std::string& to_network);

  // Encrypts the slices, small ones together. Precondition: established, or closed by the other
  // end. False when it has failed.
  bool send(const Slice* slices, std::size_t count, std::string& to_network);

  // Says that nothing more comes.
  void close(std::string& to_network);

  // --- Once established ---
  std::string version() const;  // "TLSv1.3"
  std::string cipher() const;
  // Nothing when the other end has shown no certificate, or one that was not verified.
  std::optional<PeerNames> peer_names() const;
  // The digest of the server's certificate that channel binding of type tls-server-end-point
  // compares (RFC 5929); empty when its signature has none.
  std::string server_end_point() const;

 private:
  struct Native;
  void shake_hands();
  void fail(int status);

  std::shared_ptr<const Context> context_;
  std::unique_ptr<Native> native_;
  State state_ = State::shaking_hands;
  bool handshake_done_ = false;
  std::string failure_;
};

}  // namespace dwspool::tls
