#include "dwspool/proxy/login_identity.h"

#include "dwspool/wire/sqlstate.h"

#include "dwspool/auth/digest.h"
#include "dwspool/auth/scram.h"

namespace dwspool::proxy {
namespace {

constexpr std::size_t nonce_bytes = 18;

}  // namespace

login::Identity login_identity(ClusterState& state, cluster::HostId host, const std::string& user,
                               const std::string& database, const auth::Credential& credential) {
  login::Identity identity;
  identity.user = user;
  identity.database = database;
  identity.credential = credential;
  identity.max_iterations = state.config().max_pbkdf2_iterations;
  identity.nonce = auth::make_scram_nonce(auth::random_bytes(nonce_bytes));
  identity.protocol =
      state.wants_protocol_3_0(host) ? wire::protocol_3_0 : wire::protocol_gauss_3_51;
  return identity;
}

bool counts(const login::BackendLogin& login) {
  return login.proven() && login.dialect() != Dialect::postgres;
}

cluster::Trouble trouble_of(const wire::ErrorReport& report) {
  if (report.sqlstate == wire::sqlstate::connection_failure || report.sqlstate.empty()) {
    return cluster::Trouble::unreachable;
  }
  const bool full = report.sqlstate.starts_with("53");  // insufficient resources
  return full ? cluster::Trouble::full : cluster::Trouble::unavailable;
}

}  // namespace dwspool::proxy
