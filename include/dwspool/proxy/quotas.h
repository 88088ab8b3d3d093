// Limits that several pools share: the backends of a database, of a user, of a cluster, and of the
// hosts that serve a target (host_rule). They add to a pool's own (slot_ledger.h): a backend needs
// a place under every one of them.
//
// Fair: a place that comes free goes at once to the pool with the fewest backends of those that
// were refused one; and who was refused gets one from the pool with the most, which closes a
// backend that is idle or, while it has more than its share, one that comes back.
//
// Thread-safe. The lock is taken when a backend is opened or closed, never for a transaction.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace dwspool::proxy {

struct QuotaRule {
  std::string name;  // of what is limited; the same name is the same quota
  std::uint32_t limit = 0;
  friend bool operator==(const QuotaRule&, const QuotaRule&) = default;
};

class Quotas {
 public:
  // One pool, over all workers.
  class Member {
   public:
    explicit Member(std::string pool) : pool_(std::move(pool)) {}
    const std::string& pool() const { return pool_; }
    // Whether a backend that comes back should be closed, so that another pool gets its share.
    bool take_yield();

   private:
    friend class Quotas;
    std::string pool_;
    std::vector<std::string> quotas_;
    std::uint32_t taken_ = 0;
    std::atomic<std::uint32_t> to_yield_{0};
  };
  using MemberPtr = std::shared_ptr<Member>;

  // The member of that pool; made if it is new. Null when there is no rule.
  MemberPtr join(const std::string& pool, const std::vector<QuotaRule>& rules);

  struct Answer {
    bool taken = false;
    MemberPtr donor;  // when refused: who is asked to give one up, if anybody can
  };
  // A place under all quotas of the member, or none. `worker` hears of a place by give_back().
  Answer try_take(const MemberPtr& member, std::size_t worker);

  // Who has inherited a place: it is taken for that pool on that worker, which uses it, or gives it
  // back in its turn.
  struct Heir {
    MemberPtr member;
    std::size_t worker = 0;
  };
  std::optional<Heir> give_back(const MemberPtr& member);

  // Other limits from now on, of those that are known. Nobody loses a backend by that; those who
  // get one are returned.
  std::vector<Heir> change(const std::vector<QuotaRule>& rules);

  std::uint32_t taken(const std::string& quota) const;

 private:
  struct Quota {
    std::uint32_t limit = 0;
    std::uint32_t taken = 0;
  };
  bool has_room(const Member& member) const;
  void count(Member& member, int change);
  MemberPtr donor_for(const Member& member);
  std::optional<Heir> next_heir();

  mutable std::mutex mutex_;
  std::map<std::string, Quota> quotas_;
  std::map<std::string, std::weak_ptr<Member>> members_;
  std::deque<Heir> refused_;
};

// How many clients there are of a name, for the limits per database and user. Thread-safe.
class ClientCounts {
 public:
  // False, and nothing counted, when `limit` are there already; 0: no limit, and not counted.
  bool enter(const std::string& name, std::uint32_t limit);
  void leave(const std::string& name);

 private:
  std::mutex mutex_;
  std::map<std::string, std::uint32_t> counts_;
};

}  // namespace dwspool::proxy
