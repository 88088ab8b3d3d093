#include "dwspool/tls/engine.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <limits>
#include <stdexcept>

#include <openssl/bio.h>
#include <openssl/err.h>

#include "dwspool/base/text.h"

#include "tls/native.h"

namespace dwspool::tls {
namespace {

// The two ends that libssl has in place of a socket; they last for one call.
struct Wires {
  std::string_view in;
  std::string* out = nullptr;
};

int read_wire(BIO* bio, char* buffer, std::size_t room, std::size_t* count) {
  auto* const wires = static_cast<Wires*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *count = std::min(room, wires->in.size());
  if (*count == 0) {
    BIO_set_retry_read(bio);
    return 0;
  }
  std::memcpy(buffer, wires->in.data(), *count);
  wires->in.remove_prefix(*count);
  return 1;
}

int write_wire(BIO* bio, const char* bytes, std::size_t size, std::size_t* count) {
  static_cast<Wires*>(BIO_get_data(bio))->out->append(bytes, size);
  *count = size;
  return 1;
}

long control_wire(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

// One for the process, made at the first use and never changed.
const BIO_METHOD* wire_method() {
  static const std::unique_ptr<BIO_METHOD, FreeBy<BIO_meth_free>> method = [] {
    BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "memory");
    if (made == nullptr) throw std::runtime_error("libcrypto refuses a BIO");
    BIO_meth_set_read_ex(made, read_wire);
    BIO_meth_set_write_ex(made, write_wire);
    BIO_meth_set_ctrl(made, control_wire);
    return std::unique_ptr<BIO_METHOD, FreeBy<BIO_meth_free>>(made);
  }();
  return method.get();
}

bool is_address(const std::string& host) {
  const std::unique_ptr<ASN1_OCTET_STRING, FreeBy<ASN1_OCTET_STRING_free>> address(
      a2i_IPADDRESS(host.c_str()));
  return address != nullptr;
}

// A text of a certificate; empty when it holds a NUL, which is how one name is made to look like
// another (CVE-2009-4034).
std::string text_of(const ASN1_STRING* value) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, value);
  if (size < 0) return {};
  std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return text.find('\0') == std::string::npos ? text : std::string();
}

}  // namespace

struct Engine::Native {
  Wires wires;
  Ssl ssl;
  bool require_alpn = false;
};

bool PeerNames::include(std::string_view name) const {
  if (name.empty()) return false;
  return common_name == name || std::find(alternative_names.begin(), alternative_names.end(),
                                          name) != alternative_names.end();
}

Engine::Engine(std::shared_ptr<const Context> context, const EngineOptions& options)
    : context_(std::move(context)), native_(std::make_unique<Native>()) {
  native_->ssl.reset(SSL_new(context_->native_->ssl.get()));
  BIO* const bio = BIO_new(wire_method());
  if (!native_->ssl || bio == nullptr) {
    BIO_free(bio);
    throw std::runtime_error("libssl has no memory for a connection");
  }
  BIO_set_data(bio, &native_->wires);
  BIO_set_init(bio, 1);
  SSL* const ssl = native_->ssl.get();
  SSL_set_bio(ssl, bio, bio);
  native_->require_alpn = options.require_alpn;
  if (context_->role() == Context::Role::server) {
    SSL_set_accept_state(ssl);
    return;
  }
  SSL_set_connect_state(ssl);
  const bool by_address = is_address(options.host);
  if (options.send_sni && !options.host.empty() && !by_address) {
    // SSL_set_tlsext_host_name, without the cast in it.
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             const_cast<char*>(options.host.c_str()));
  }
  if (!options.verify_host) return;
  X509_VERIFY_PARAM* const checks = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(checks, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  const bool set = by_address
                       ? X509_VERIFY_PARAM_set1_ip_asc(checks, options.host.c_str()) == 1
                       : !options.host.empty() && SSL_set1_host(ssl, options.host.c_str()) == 1;
  if (!set) {
    state_ = State::failed;
    failure_ = "there is no host name that the server's certificate could be compared with";
  }
}

Engine::~Engine() = default;

void Engine::start(std::string& to_network) {
  native_->wires = {{}, &to_network};
  if (state_ == State::shaking_hands) shake_hands();
}

void Engine::shake_hands() {
  ERR_clear_error();
  SSL* const ssl = native_->ssl.get();
  const int status = SSL_do_handshake(ssl);
  if (status != 1) {
    fail(status);
    return;
  }
  const unsigned char* protocol = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &size);
  if (native_->require_alpn && size == 0) {
    state_ = State::failed;
    failure_ = "a connection that begins with TLS must name its protocol (ALPN)";
    return;
  }
  state_ = State::established;
  handshake_done_ = true;
}

// Nothing has failed when only more bytes are wanted.
void Engine::fail(int status) {
  SSL* const ssl = native_->ssl.get();
  switch (SSL_get_error(ssl, status)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return;
    case SSL_ERROR_ZERO_RETURN:
      state_ = State::closed;
      return;
    default:
      break;
  }
  state_ = State::failed;
  const long verified = SSL_get_verify_result(ssl);
  failure_ = take_reason();
  if (verified != X509_V_OK) {
    failure_ += std::string(" (") + X509_verify_cert_error_string(verified) + ")";
  }
}

std::size_t Engine::receive(std::string_view from_network, char* plain, std::size_t room,
                            std::string& to_network) {
  assert(room >= from_network.size() + max_record);
  native_->wires = {from_network, &to_network};
  if (state_ == State::shaking_hands) shake_hands();
  std::size_t filled = 0;
  while (state_ == State::established) {
    ERR_clear_error();
    std::size_t count = 0;
    const int status = SSL_read_ex(native_->ssl.get(), plain + filled, room - filled, &count);
    filled += count;
    if (status == 1) continue;
    fail(status);
    break;
  }
  native_->wires = {};
  return filled;
}

bool Engine::send(const Slice* slices, std::size_t count, std::string& to_network) {
  std::array<char, SSL3_RT_MAX_PLAIN_LENGTH> record;  // NOLINT: what is used of it is filled
  std::size_t filled = 0;
  native_->wires = {{}, &to_network};
  const auto write = [this](const char* bytes, std::size_t size) {
    while (size > 0) {
      ERR_clear_error();
      std::size_t written = 0;
      const int status = SSL_write_ex(native_->ssl.get(), bytes, size, &written);
      if (status != 1) {
        fail(status);
        if (state_ != State::failed) {  // memory always takes more
          state_ = State::failed;
          failure_ = "libssl does not go on";
        }
        return false;
      }
      bytes += written;
      size -= written;
    }
    return true;
  };
  for (std::size_t i = 0; i < count; ++i) {
    const char* bytes = slices[i].data;
    std::size_t size = slices[i].size;
    while (size > 0) {
      // A full record needs no copy.
      if (filled == 0 && size >= record.size()) {
        if (!write(bytes, record.size())) return false;
        bytes += record.size();
        size -= record.size();
        continue;
      }
      const std::size_t piece = std::min(size, record.size() - filled);
      std::memcpy(record.data() + filled, bytes, piece);
      filled += piece;
      bytes += piece;
      size -= piece;
      if (filled < record.size()) continue;
      if (!write(record.data(), filled)) return false;
      filled = 0;
    }
  }
  return write(record.data(), filled);
}

void Engine::close(std::string& to_network) {
  if (state_ != State::established && state_ != State::closed) return;
  native_->wires = {{}, &to_network};
  ERR_clear_error();
  SSL_shutdown(native_->ssl.get());
  ERR_clear_error();
}

std::string Engine::version() const {
  return SSL_get_version(native_->ssl.get());
}

std::string Engine::cipher() const {
  const char* const name = SSL_get_cipher_name(native_->ssl.get());
  return name == nullptr ? std::string() : name;
}

std::optional<PeerNames> Engine::peer_names() const {
  SSL* const ssl = native_->ssl.get();
  const X509* const certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr || SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE ||
      SSL_get_verify_result(ssl) != X509_V_OK) {
    return std::nullopt;
  }
  PeerNames names;
  X509_NAME* const subject = X509_get_subject_name(certificate);
  // As in PostgreSQL, the first one counts.
  if (const int place = X509_NAME_get_index_by_NID(subject, NID_commonName, -1); place >= 0) {
    names.common_name = text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, place)));
  }
  const std::unique_ptr<GENERAL_NAMES, FreeBy<GENERAL_NAMES_free>> alternatives(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
    const GENERAL_NAME* const each = sk_GENERAL_NAME_value(alternatives.get(), i);
    if (each->type != GEN_DNS && each->type != GEN_EMAIL) continue;
    if (std::string name = text_of(each->d.ia5); !name.empty()) {
      names.alternative_names.push_back(std::move(name));
    }
  }
  return names;
}

std::string Engine::server_end_point() const {
  SSL* const ssl = native_->ssl.get();
  const X509* const certificate = context_->role() == Context::Role::server
                                      ? SSL_get_certificate(ssl)
                                      : SSL_get0_peer_certificate(ssl);
  int digest = NID_undef;
  if (certificate == nullptr ||
      OBJ_find_sigid_algs(X509_get_signature_nid(certificate), &digest, nullptr) != 1) {
    return {};
  }
  if (digest == NID_md5 || digest == NID_sha1) digest = NID_sha256;
  const EVP_MD* const algorithm = EVP_get_digestbynid(digest);
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned int size = 0;
  if (algorithm == nullptr || X509_digest(certificate, algorithm, hash.data(), &size) != 1) {
    return {};
  }
  return {reinterpret_cast<const char*>(hash.data()), size};
}

}  // namespace dwspool::tls
