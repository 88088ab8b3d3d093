#include "dwspool/tls/context.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include <openssl/err.h>
#include <sys/stat.h>

#include "dwspool/tls/engine.h"

#include "tls/native.h"

namespace dwspool::tls {
namespace {

using Problem = std::optional<ContextError>;

int native_version(Version version) {
  return version == Version::tls_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION;
}

// A key with a passphrase: nobody is there to type it.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*data*/) {
  return -1;
}

// ALPN: a client that offers protocols must offer ours, one that offers none is taken at its word
// elsewhere.
int select_alpn(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_size,
                const unsigned char* in, unsigned int in_size, void* /*data*/) {
  static constexpr std::array<unsigned char, alpn_protocol.size() + 1> ours = [] {
    std::array<unsigned char, alpn_protocol.size() + 1> list{};
    list[0] = static_cast<unsigned char>(alpn_protocol.size());
    for (std::size_t i = 0; i < alpn_protocol.size(); ++i) {
      list[i + 1] = static_cast<unsigned char>(alpn_protocol[i]);
    }
    return list;
  }();
  unsigned char* selected = nullptr;
  if (SSL_select_next_proto(&selected, out_size, ours.data(), ours.size(), in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

Problem use_algorithms(SSL_CTX* ssl, const Algorithms& algorithms) {
  SSL_CTX_set_min_proto_version(ssl, native_version(algorithms.min_version));
  SSL_CTX_set_max_proto_version(ssl, native_version(algorithms.max_version));
  if (!algorithms.ciphers.empty() &&
      SSL_CTX_set_cipher_list(ssl, algorithms.ciphers.c_str()) != 1) {
    return ContextError{"ciphers", "OpenSSL knows no cipher of this list: " + take_reason()};
  }
  if (!algorithms.ciphersuites.empty() &&
      SSL_CTX_set_ciphersuites(ssl, algorithms.ciphersuites.c_str()) != 1) {
    return ContextError{"ciphersuites", "OpenSSL does not take this list: " + take_reason()};
  }
  if (!algorithms.curves.empty() && SSL_CTX_set1_curves_list(ssl, algorithms.curves.c_str()) != 1) {
    return ContextError{"curves", "OpenSSL does not take this list: " + take_reason()};
  }
  return std::nullopt;
}

Problem check_key_file(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return ContextError{"key", "cannot read " + path + ": " + std::strerror(errno)};
  }
  // As for PostgreSQL: a key that belongs to root may be shared with a group.
  const mode_t too_much = status.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
  if (S_ISREG(status.st_mode) && (status.st_mode & too_much) != 0) {
    return ContextError{"key",
                        path + " is accessible for others; allow its owner only (chmod 600)"};
  }
  return std::nullopt;
}

Problem use_certificate(SSL_CTX* ssl, const std::string& certificate, const std::string& key) {
  SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
  if (SSL_CTX_use_certificate_chain_file(ssl, certificate.c_str()) != 1) {
    return ContextError{"certificate", "cannot use " + certificate + ": " + take_reason()};
  }
  if (Problem problem = check_key_file(key)) return problem;
  if (SSL_CTX_use_PrivateKey_file(ssl, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return ContextError{
        "key", "cannot use " + key + " (is it protected by a passphrase?): " + take_reason()};
  }
  if (SSL_CTX_check_private_key(ssl) != 1) {
    return ContextError{"key", key + " does not belong to the certificate " + certificate};
  }
  return std::nullopt;
}

Problem trust(SSL_CTX* ssl, std::string_view ca_option, const std::string& ca,
              std::string_view crl_option, const std::string& crl) {
  if (ca == "system") {
    if (SSL_CTX_set_default_verify_paths(ssl) != 1) {
      return ContextError{ca_option, "the system's certificates cannot be read"};
    }
  } else if (SSL_CTX_load_verify_file(ssl, ca.c_str()) != 1) {
    return ContextError{ca_option, "cannot use " + ca + ": " + take_reason()};
  }
  if (crl.empty()) return std::nullopt;
  X509_STORE* const store = SSL_CTX_get_cert_store(ssl);
  X509_LOOKUP* const lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
  if (lookup == nullptr || X509_load_crl_file(lookup, crl.c_str(), X509_FILETYPE_PEM) <= 0) {
    return ContextError{crl_option, "cannot use " + crl + ": " + take_reason()};
  }
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  return std::nullopt;
}

SslContext make_native(const SSL_METHOD* method) {
  ERR_clear_error();
  SslContext ssl(SSL_CTX_new(method));
  if (!ssl) return ssl;
  // An idle connection holds no buffers; what is sent is never asked for again at another place.
  SSL_CTX_set_mode(ssl.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Nothing of a session is left when it is over: no tickets, no resumption, no renegotiation.
  SSL_CTX_set_options(ssl.get(), SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_num_tickets(ssl.get(), 0);
  SSL_CTX_set_session_cache_mode(ssl.get(), SSL_SESS_CACHE_OFF);
  return ssl;
}

std::optional<std::int64_t> end_of(const X509* certificate) {
  if (certificate == nullptr) return std::nullopt;
  std::tm time{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time) != 1) return std::nullopt;
  return ::timegm(&time);
}

}  // namespace

std::string take_reason() {
  const unsigned long code = ERR_peek_last_error();
  std::string reason;
  if (ERR_SYSTEM_ERROR(code)) {
    reason = std::strerror(ERR_GET_REASON(code));
  } else if (const char* const text = ERR_reason_error_string(code)) {
    reason = text;
  } else {
    reason = "error " + std::to_string(code);
  }
  // A file that is missing is told in two steps, the first of which says it.
  while (const unsigned long each = ERR_get_error()) {
    if (ERR_SYSTEM_ERROR(each)) reason = std::strerror(ERR_GET_REASON(each));
  }
  return reason;
}

Context::Context(Role role, std::unique_ptr<Native> native)
    : role_(role),
      native_(std::move(native)),
      not_after_(end_of(SSL_CTX_get0_certificate(native_->ssl.get()))) {}

Context::~Context() = default;

Context::Made Context::server(const ServerOptions& options) {
  SslContext ssl = make_native(TLS_server_method());
  if (!ssl) return ContextError{"certificate", take_reason()};
  SSL_CTX_set_dh_auto(ssl.get(), 1);
  SSL_CTX_set_alpn_select_cb(ssl.get(), select_alpn, nullptr);
  if (Problem problem = use_algorithms(ssl.get(), options.algorithms)) return *problem;
  if (Problem problem = use_certificate(ssl.get(), options.certificate, options.key)) {
    return *problem;
  }
  if (!options.client_ca.empty()) {
    if (Problem problem =
            trust(ssl.get(), "client_ca", options.client_ca, "client_crl", options.client_crl)) {
      return *problem;
    }
    if (options.client_ca != "system") {
      SSL_CTX_set_client_CA_list(ssl.get(), SSL_load_client_CA_file(options.client_ca.c_str()));
    }
    SSL_CTX_set_verify(
        ssl.get(),
        SSL_VERIFY_PEER |
            (options.require_client_certificate ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        nullptr);
  }
  return std::shared_ptr<const Context>(
      new Context(Role::server, std::make_unique<Native>(Native{std::move(ssl)})));
}

Context::Made Context::client(const ClientOptions& options) {
  SslContext ssl = make_native(TLS_client_method());
  if (!ssl) return ContextError{"root_certificate", take_reason()};
  if (Problem problem = use_algorithms(ssl.get(), options.algorithms)) return *problem;
  if (!options.certificate.empty()) {
    if (Problem problem = use_certificate(ssl.get(), options.certificate, options.key)) {
      return *problem;
    }
  }
  if (options.verify) {
    if (Problem problem =
            trust(ssl.get(), "root_certificate", options.root_certificate, "crl", options.crl)) {
      return *problem;
    }
    SSL_CTX_set_verify(ssl.get(), SSL_VERIFY_PEER, nullptr);
  }
  return std::shared_ptr<const Context>(
      new Context(Role::client, std::make_unique<Native>(Native{std::move(ssl)})));
}

}  // namespace dwspool::tls
