// Places for backends: of the pool over all workers, and under the limits that pools share; asked
// for, given back, yielded and inherited.
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

void Worker::request_slot(PoolContext& pool, bool reserve) {
  if (pool.slots->try_take(index_, reserve)) {
    if (take_quota(pool)) {
      pool.pool.on_slot(now());
    } else {
      pool.pool.on_slot_denied();
      announce_free_slot(pool.key(), pool.slots->give_back());
    }
    return;
  }
  pool.pool.on_slot_denied();
  if (all_.size() == 1) return;
  // Somebody else may have one to spare.
  pool.slots->publish_wait(index_, pool.pool.oldest_wait());
  for (const std::unique_ptr<Worker>& worker : all_) {
    if (worker.get() == this) continue;
    worker->post([key = pool.key()](Worker& other) {
      const auto found = other.pools_.find(key);
      if (found == other.pools_.end()) return;
      found->second->pool.surrender_idle(other.now());
      other.touch(*found->second);
    });
  }
}

void Worker::free_slot(PoolContext& pool) {
  announce_free_slot(pool.key(), pool.slots->give_back());
  give_back_quota(pool.quota);
}

void Worker::announce_free_slot(const std::string& key, const std::vector<std::size_t>& workers) {
  for (const std::size_t index : workers) {
    const auto tell = [key](Worker& worker) {
      const auto found = worker.pools_.find(key);
      if (found == worker.pools_.end()) return;
      found->second->pool.on_slots_available(worker.now());
      worker.touch(*found->second);
    };
    if (index == index_) {
      tell(*this);
    } else {
      all_[index]->post(tell);
    }
  }
}

bool Worker::take_quota(PoolContext& pool) {
  if (!pool.quota) return true;
  const Quotas::Answer answer = hub_.quotas.try_take(pool.quota, index_);
  if (answer.taken) return true;
  if (!answer.donor) return false;
  for (const std::unique_ptr<Worker>& worker : all_) {
    worker->post([donor = answer.donor](Worker& other) {
      const auto found = other.pools_.find(donor->pool());
      if (found == other.pools_.end()) return;
      found->second->pool.yield_idle();
      other.touch(*found->second);
    });
  }
  return false;
}

void Worker::give_back_quota(const Quotas::MemberPtr& quota) {
  if (!quota) return;
  const std::optional<Quotas::Heir> heir = hub_.quotas.give_back(quota);
  if (heir) pass_on({*heir});
}

void Worker::pass_on(const std::vector<Quotas::Heir>& heirs) {
  for (const Quotas::Heir& heir : heirs) {
    all_[heir.worker]->post([member = heir.member](Worker& other) { other.inherit(member); });
  }
}

// Pools share what the hosts take like any other limit.
void Worker::note_room(const ClusterState& cluster, Target target) {
  pass_on(hub_.quotas.change({host_rule(cluster.config().name, target, cluster.room(target))}));
}

// The place is taken already; what is missing is the pool's own.
void Worker::inherit(const Quotas::MemberPtr& quota) {
  const auto found = pools_.find(quota->pool());
  PoolContext* const pool = found == pools_.end() ? nullptr : found->second.get();
  const bool used =
      pool != nullptr && pool->pool.wants_slot(now()) && pool->slots->try_take(index_, false);
  if (used) pool->pool.on_slot(now());
  if (pool != nullptr) {
    pool->pool.on_slots_available(now());  // there may be more to ask for
    touch(*pool);
  }
  if (!used) give_back_quota(quota);
}

}  // namespace dwspool::proxy
