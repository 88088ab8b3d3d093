// Logging in to a host: who, in the form that the log-in wants, and what it means to fail.
#pragma once

#include <optional>
#include <string>

#include "dwspool/base/secret.h"

#include "dwspool/login/backend_login.h"

#include "dwspool/cluster/topology.h"
#include "dwspool/proxy/cluster_state.h"

namespace dwspool::proxy {

login::Identity login_identity(ClusterState& state, cluster::HostId host, const std::string& user,
                               const std::string& database, const auth::Credential& credential);

// Whether a refusal counts towards the lock of the account: not at PostgreSQL, which has none, and
// not where nothing was sent.
bool counts(const login::BackendLogin& login);

// What a log-in that failed as `unavailable` says about the host.
cluster::Trouble trouble_of(const wire::ErrorReport& report);

}  // namespace dwspool::proxy
