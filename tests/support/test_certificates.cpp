#include "support/test_certificates.h"

#include <cstdio>
#include <map>
#include <stdexcept>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

namespace dwspool::testing {
namespace {

constexpr long day = 24 * 3600;

template <class Write>
void write_file(const std::string& path, Write write) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "w"), &std::fclose);
  if (!file || write(file.get()) != 1) throw std::runtime_error("cannot write " + path);
}

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

Key new_key(const std::string& path) {
  Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  write_file(path, [&](FILE* file) {
    return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
  ::chmod(path.c_str(), 0600);
  return key;
}

void add_extension(X509* certificate, int kind, const std::string& value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  if (extension == nullptr) throw std::runtime_error("no extension: " + value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

struct TestCertificates::Authority {
  Key key{nullptr, &EVP_PKEY_free};
  Certificate certificate{nullptr, &X509_free};
  std::map<std::string, long> serials;

  Certificate sign(EVP_PKEY* subject_key, const std::string& common_name,
                   const std::string& alternatives, int days, long serial) const {
    Certificate made(X509_new(), &X509_free);
    X509_set_version(made.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -10 * day);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), days * day);
    X509_set_pubkey(made.get(), subject_key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                               0);
    const bool self = certificate == nullptr;
    X509_set_issuer_name(made.get(), X509_get_subject_name(self ? made.get() : certificate.get()));
    if (self) add_extension(made.get(), NID_basic_constraints, "critical,CA:TRUE");
    if (!alternatives.empty()) add_extension(made.get(), NID_subject_alt_name, alternatives);
    if (X509_sign(made.get(), key.get(), EVP_sha256()) == 0) {
      throw std::runtime_error("cannot sign a certificate");
    }
    return made;
  }
};

TestCertificates::TestCertificates(std::string folder)
    : folder_(std::move(folder)), authority_(std::make_unique<Authority>()) {
  authority_->key = new_key(key("ca"));
  authority_->certificate = authority_->sign(authority_->key.get(), "test ca", "", 2, 1);
  write_file(ca(), [&](FILE* file) { return PEM_write_X509(file, authority_->certificate.get()); });
}

TestCertificates::~TestCertificates() = default;

void TestCertificates::issue(const std::string& name, const std::string& common_name,
                             const std::string& alternatives, int days) {
  const Key subject_key = new_key(key(name));
  const long serial = static_cast<long>(authority_->serials.size()) + 2;
  authority_->serials[name] = serial;
  const Certificate made =
      authority_->sign(subject_key.get(), common_name, alternatives, days, serial);
  write_file(certificate(name), [&](FILE* file) { return PEM_write_X509(file, made.get()); });
}

std::string TestCertificates::revoke(const std::string& name) {
  const std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> list(X509_CRL_new(), &X509_CRL_free);
  X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(authority_->certificate.get()));
  const std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> begin(X509_gmtime_adj(nullptr, -day),
                                                                    &ASN1_TIME_free);
  const std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> end(X509_gmtime_adj(nullptr, day),
                                                                  &ASN1_TIME_free);
  X509_CRL_set1_lastUpdate(list.get(), begin.get());
  X509_CRL_set1_nextUpdate(list.get(), end.get());
  X509_REVOKED* const revoked = X509_REVOKED_new();
  const std::unique_ptr<ASN1_INTEGER, decltype(&ASN1_INTEGER_free)> serial(ASN1_INTEGER_new(),
                                                                           &ASN1_INTEGER_free);
  ASN1_INTEGER_set(serial.get(), authority_->serials.at(name));
  X509_REVOKED_set_serialNumber(revoked, serial.get());
  X509_REVOKED_set_revocationDate(revoked, begin.get());
  X509_CRL_add0_revoked(list.get(), revoked);
  X509_CRL_sign(list.get(), authority_->key.get(), EVP_sha256());
  std::string path = folder_ + "/revoked.crl";
  write_file(path, [&](FILE* file) { return PEM_write_X509_CRL(file, list.get()); });
  return path;
}

}  // namespace dwspool::testing
