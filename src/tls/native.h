// What the headers of this module hide: libssl.
#pragma once

#include <memory>
#include <string>

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "dwspool/tls/context.h"

namespace dwspool::tls {

template <auto Free>
struct FreeBy {
  template <class Object>
  void operator()(Object* object) const {
    Free(object);
  }
};
using SslContext = std::unique_ptr<SSL_CTX, FreeBy<SSL_CTX_free>>;
using Ssl = std::unique_ptr<SSL, FreeBy<SSL_free>>;
using Certificate = std::unique_ptr<X509, FreeBy<X509_free>>;

struct Context::Native {
  SslContext ssl;
};

// The reason of the last failure of OpenSSL in this thread, which is then forgotten.
std::string take_reason();

}  // namespace dwspool::tls
