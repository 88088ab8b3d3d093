// What the state of a cluster means for a worker's pools, clients and backends.
#include "dwspool/wire/sqlstate.h"

#include "dwspool/proxy/back_conn.h"
#include "dwspool/proxy/cluster_state.h"
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

void Worker::follow(PoolContext& pool) {
  const bool hold = pool.cluster->holds(pool.route.target);
  if (hold == pool.pool.held()) return;
  if (hold) {
    pool.pool.hold();
  } else {
    pool.pool.resume(now());
  }
}

void Worker::on_topology(ClusterState& cluster) {
  std::vector<BackendId> concerned;
  std::vector<BackendId> moving;
  backends_.for_each([&](BackConn& backend) {
    if (backend.pool().cluster.get() != &cluster) return;
    if (!backend.may_be_lent()) {
      concerned.push_back(backend.id());
    } else if (backend.is_to_move()) {
      moving.push_back(backend.id());
    }
  });
  // These first, while they are idle: a client that now loses its backend may be lent one at once.
  for (const BackendId id : moving) {
    if (BackConn* backend = find_backend(id)) backend->discard();
  }
  for (const BackendId id : concerned) {
    if (BackConn* backend = find_backend(id)) backend->on_topology();
  }
  for (auto& [key, pool] : pools_) {
    if (pool->cluster.get() != &cluster) continue;
    note_room(cluster, pool->route.target);
    follow(*pool);
    touch(*pool);
  }
}

wire::ErrorReport Worker::timeout_report(const PoolContext& pool, bool at_login) {
  wire::ErrorReport report;
  report.sqlstate =
      at_login ? wire::sqlstate::cannot_connect_now : wire::sqlstate::connection_failure;
  report.message = "no connection to the database server could be had in time";
  if (pool.cluster->holds(pool.route.target)) {
    report.detail = "No host of the cluster serves target " +
                    std::string(to_string(pool.route.target)) + ": " + pool.cluster->trouble();
    report.hint = "Nothing was sent to the server.";
  } else if (!pool.last_failure.empty()) {
    report.detail = "The last attempt to connect failed: " + pool.last_failure;
    report.hint = "Nothing was sent to the server.";
  } else {
    report.detail = "All connections of the pool (pool_size " +
                    std::to_string(pool.route.settings.size) + ") were in use.";
    report.hint =
        "Nothing was sent to the server. Raise pool_size or queue_timeout, or use "
        "shorter transactions.";
  }
  return report;
}

}  // namespace dwspool::proxy
