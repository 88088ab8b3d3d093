// What TLS connections of one kind have in common: certificate, key, whom to trust, which
// versions and ciphers. Read from files once; connections that live keep theirs when the files are
// read again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace dwspool::tls {

enum class Version : std::uint8_t { tls_1_2, tls_1_3 };

// Empty texts are OpenSSL's own choice.
struct Algorithms {
  Version min_version = Version::tls_1_2;
  Version max_version = Version::tls_1_3;
  std::string ciphers;       // of TLS 1.2, in OpenSSL's notation
  std::string ciphersuites;  // of TLS 1.3
  std::string curves;        // "X25519:prime256v1"
  friend bool operator==(const Algorithms&, const Algorithms&) = default;
};

// Names of PEM files.
struct ServerOptions {
  std::string certificate;  // with the chain behind it
  std::string key;
  std::string client_ca;   // empty: clients are not asked for a certificate
  std::string client_crl;  // only together with client_ca
  bool require_client_certificate = false;
  Algorithms algorithms;
};

struct ClientOptions {
  std::string root_certificate;  // "system": those of the operating system
  std::string crl;
  std::string certificate;  // empty: none is shown
  std::string key;
  bool verify = false;  // the server's certificate must come from root_certificate
  Algorithms algorithms;
};

// What is wrong with the options, and which of them: the name of a member above.
struct ContextError {
  std::string_view option;
  std::string message;
};

class Context {
 public:
  enum class Role : std::uint8_t { server, client };
  using Made = std::variant<std::shared_ptr<const Context>, ContextError>;

  // Blocking: reads the files. A key must be readable for its owner (and root's group) only.
  static Made server(const ServerOptions& options);
  static Made client(const ClientOptions& options);

  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Role role() const { return role_; }
  // When our own certificate ends, in seconds since the epoch; nothing without one.
  std::optional<std::int64_t> not_after() const { return not_after_; }

 private:
  friend class Engine;
  struct Native;
  Context(Role role, std::unique_ptr<Native> native);

  Role role_;
  std::unique_ptr<Native> native_;
  std::optional<std::int64_t> not_after_;
};

}  // namespace dwspool::tls
