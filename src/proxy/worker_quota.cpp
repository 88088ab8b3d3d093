// Places under the limits that pools share: asked for, yielded and inherited.
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

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
  if (!heir) return;
  all_[heir->worker]->post([member = heir->member](Worker& other) { other.inherit(member); });
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
