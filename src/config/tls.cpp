// `tls`, towards clients and towards a cluster.
#include <array>
#include <memory>
#include <variant>

#include "config/files.h"
#include "config/sections.h"

namespace dwspool::config {
namespace {

constexpr std::array modes = {
    Choice<TlsMode>{"disable", TlsMode::disable},
    Choice<TlsMode>{"allow", TlsMode::allow},
    Choice<TlsMode>{"prefer", TlsMode::prefer},
    Choice<TlsMode>{"require", TlsMode::require},
    Choice<TlsMode>{"verify-ca", TlsMode::verify_ca},
    Choice<TlsMode>{"verify-full", TlsMode::verify_full},
};

constexpr std::array versions = {
    Choice<tls::Version>{"1.2", tls::Version::tls_1_2},
    Choice<tls::Version>{"1.3", tls::Version::tls_1_3},
};

void read_path(Reading& reading, Section& section, std::string_view key, std::string& path) {
  const std::optional<std::string> written = section.text(key, "the name of a file");
  if (!written) return;
  if (written->empty()) {
    section.complain(key, "expected the name of a file");
  } else {
    path = *written == "system" ? *written : resolve_path(*written, reading.report.file());
  }
}

void read_algorithms(Section& section, tls::Algorithms& algorithms) {
  section.choice("min_version", versions, algorithms.min_version);
  section.choice("max_version", versions, algorithms.max_version);
  if (algorithms.min_version > algorithms.max_version) {
    section.complain("max_version", "is below min_version");
  }
  section.text_into("ciphers", algorithms.ciphers);
  section.text_into("ciphersuites", algorithms.ciphersuites);
  section.text_into("curves", algorithms.curves);
}

void check_pair(Section& section, const std::string& certificate, const std::string& key) {
  if (certificate.empty() != key.empty()) {
    section.complain(key.empty() ? "certificate" : "key",
                     key.empty() ? "needs its 'key'" : "needs its 'certificate'");
  }
}

// By reading what is named, as the daemon will.
void try_out(Section& section, const tls::Context::Made& made) {
  if (const auto* const error = std::get_if<tls::ContextError>(&made)) {
    section.complain(error->option, error->message);
  }
}

void check_client_tls(Section& section, ClientTls& result) {
  tls::ServerOptions& options = result.options;
  check_pair(section, options.certificate, options.key);
  if (result.mode == TlsMode::disable) {
    if (!options.certificate.empty()) {
      section.complain("certificate",
                       "has no effect with mode disable; write for example: "
                       "mode: prefer");
    }
    return;
  }
  if (options.certificate.empty()) {
    section.complain("mode",
                     std::string(to_string(result.mode)) + " needs a 'certificate' and its 'key'");
  }
  options.require_client_certificate = result.mode >= TlsMode::verify_ca;
  if (options.require_client_certificate && options.client_ca.empty()) {
    section.complain("mode", std::string(to_string(result.mode)) +
                                 " needs 'client_ca', which the certificates of clients come from");
  }
  if (!options.client_crl.empty() && options.client_ca.empty()) {
    section.complain("client_crl", "needs 'client_ca'");
  }
  if (section.clean()) try_out(section, tls::Context::server(options));
}

}  // namespace

void read_client_tls(Reading& reading, Section& root, ClientTls& result) {
  Section section = root.section("tls");
  tls::ServerOptions& options = result.options;
  read_path(reading, section, "certificate", options.certificate);
  read_path(reading, section, "key", options.key);
  read_path(reading, section, "client_ca", options.client_ca);
  read_path(reading, section, "client_crl", options.client_crl);
  if (!options.certificate.empty()) result.mode = TlsMode::prefer;
  section.choice("mode", modes, result.mode);
  read_algorithms(section, options.algorithms);
  section.refuse_unknown();
  if (section.clean()) check_client_tls(section, result);
}

void read_cluster_tls(Reading& reading, Section& cluster, ServerTls& result) {
  Section section = cluster.section("tls");
  tls::ClientOptions& options = result.options;
  section.choice("mode", modes, result.mode);
  read_path(reading, section, "root_certificate", options.root_certificate);
  read_path(reading, section, "crl", options.crl);
  read_path(reading, section, "certificate", options.certificate);
  read_path(reading, section, "key", options.key);
  if (const auto sni = section.boolean("sni")) result.send_sni = *sni;
  read_algorithms(section, options.algorithms);
  section.refuse_unknown();
  if (!section.clean()) return;
  check_pair(section, options.certificate, options.key);
  if (section.clean()) check_cluster_tls(section, "", result);
}

void check_cluster_tls(Section& section, std::string_view key, ServerTls& result) {
  tls::ClientOptions& options = result.options;
  const auto complain = [&](std::string_view option, std::string message) {
    section.complain(key.empty() ? option : key, std::move(message));
  };
  // As in libpq: whoever has a root certificate means it, in every mode.
  options.verify = result.mode >= TlsMode::verify_ca || !options.root_certificate.empty();
  if (options.verify && options.root_certificate.empty()) {
    complain("mode", std::string(to_string(result.mode)) +
                         " needs a root certificate, which those of the servers come from");
    return;
  }
  if (!options.crl.empty() && !options.verify) {
    complain("crl", "has no effect without a root certificate that is compared with");
    return;
  }
  if (result.mode == TlsMode::disable) return;
  const tls::Context::Made made = tls::Context::client(options);
  if (const auto* const error = std::get_if<tls::ContextError>(&made)) {
    complain(error->option, error->message);
  }
}

}  // namespace dwspool::config
