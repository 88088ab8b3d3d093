// Certificates for a test, made on the spot: an authority, and what it has signed.
#pragma once

#include <memory>
#include <string>

namespace dwspool::testing {

class TestCertificates {
 public:
  // `folder` is there and is the caller's to remove.
  explicit TestCertificates(std::string folder);
  ~TestCertificates();
  TestCertificates(const TestCertificates&) = delete;
  TestCertificates& operator=(const TestCertificates&) = delete;

  // A certificate of this name, with its key, in PEM files. `alternatives` as in openssl.cnf:
  // "DNS:localhost,IP:127.0.0.1"; `days`: until it ends, negative for one that has ended.
  void issue(const std::string& name, const std::string& common_name,
             const std::string& alternatives = {}, int days = 2);
  // A list that revokes these.
  std::string revoke(const std::string& name);

  std::string ca() const { return certificate("ca"); }
  std::string certificate(const std::string& name) const { return folder_ + '/' + name + ".crt"; }
  std::string key(const std::string& name) const { return folder_ + '/' + name + ".key"; }

 private:
  struct Authority;
  std::string folder_;
  std::unique_ptr<Authority> authority_;
};

}  // namespace dwspool::testing
