#include "dwspool/session/setting_changes.h"

#include <utility>

namespace dwspool::session {

using Kind = SettingChange::Kind;

void SettingChanges::sent(std::uint64_t request, SettingChange change) {
  if ((committed_ || rolled_back_) && request == ended_by_) savepoints_ = true;
  in_flight_.push({request, std::move(change)});
}

bool SettingChanges::answered(std::uint64_t request, bool failed) {
  bool followed = true;
  failed_ = failed_ || failed;
  while (!in_flight_.empty() && in_flight_.front().request <= request) {
    SettingChange& change = in_flight_.front().change;
    const bool late = in_flight_.front().request < request;
    // It may have been committed before what failed.
    const bool ended_before = committed_ && ended_by_ == request;
    if (late || (failed && (ended_before || change.kind == Kind::unclear))) {
      followed = false;
    } else if (!failed) {
      add(std::move(change));
    }
    in_flight_.pop();
  }
  if (changes_.size() > max_changes) followed = false;
  return followed;
}

// Later ones replace earlier ones of the same name, so that a transaction of many SETs stays small.
void SettingChanges::add(SettingChange change) {
  if (change.kind == Kind::reset_all || change.kind == Kind::reset_all_raw) {
    changes_.clear();
  } else if (change.kind != Kind::unclear) {
    std::erase_if(changes_, [&](const SettingChange& earlier) {
      return earlier.kind != Kind::unclear && earlier.name == change.name;
    });
  }
  if (changes_.size() <= max_changes) changes_.push_back(std::move(change));
}

void SettingChanges::on_tag(std::string_view tag, std::uint64_t request) {
  if (tag != "COMMIT" && tag != "ROLLBACK") return;
  // Of the changes of the same request nobody can tell here which were made before and which
  // behind the end of the transaction.
  if (!in_flight_.empty() && in_flight_.front().request == request) savepoints_ = true;
  ended_by_ = request;
  if (tag == "COMMIT") committed_ = true;
  if (tag == "ROLLBACK") rolled_back_ = true;
}

void SettingChanges::on_transaction_goes_on() {
  if (committed_ || rolled_back_) savepoints_ = savepoints_ || !changes_.empty();
  committed_ = rolled_back_ = failed_ = false;
}

SettingChanges::Ended SettingChanges::on_transaction_end() {
  Ended ended;
  // An error, and the transaction is over: it was the COMMIT that failed.
  if (failed_ && !committed_) rolled_back_ = true;
  ended.changes.swap(changes_);
  if (rolled_back_ && !committed_ && !savepoints_) {
    ended.changes.clear();
  } else if (rolled_back_ || savepoints_) {
    ended.unclear = !ended.changes.empty();
    // A RESET may have gone behind the start-up packet: what that asked for is made again.
    std::erase_if(ended.changes, [](const SettingChange& change) {
      return change.kind != Kind::reset_raw && change.kind != Kind::reset_all_raw;
    });
    if (!ended.changes.empty()) ended.changes.push_back({Kind::unclear, {}, {}});
  }
  committed_ = rolled_back_ = failed_ = savepoints_ = false;
  return ended;
}

void SettingChanges::clear() {
  in_flight_.clear();
  changes_.clear();
  committed_ = rolled_back_ = failed_ = savepoints_ = false;
}

namespace {

// The settings behind a RESET ALL: `startup`, but who the session acts as stays.
SettingSet reset_all(const SettingSet& startup, const SettingSet& present) {
  SettingSet after = startup;
  for (const std::string_view name : {"role", "session_authorization"}) {
    const std::string* who = present.find(name);
    if (who != nullptr) {
      after.set(name, *who);
    } else {
      after.reset(name);
    }
  }
  return after;
}

}  // namespace

Carried carry(const std::vector<SettingChange>& changes, const SettingSet& startup,
              SettingSet wanted, SettingSet applied) {
  Carried carried{std::move(wanted), std::move(applied)};
  const auto reset = [&](const std::string& name, bool raw) {
    const std::string* asked = startup.find(name);
    if (asked != nullptr) {
      carried.wanted.set(name, *asked);
    } else {
      carried.wanted.reset(name);
    }
    if (asked != nullptr && !raw) {
      carried.applied.set(name, *asked);
    } else {
      carried.applied.reset(name);
    }
  };
  for (const SettingChange& change : changes) {
    if (change.name == "session_authorization") {
      // With the old one goes its role.
      carried.wanted.reset("role");
      carried.applied.reset("role");
    }
    switch (change.kind) {
      case Kind::set:
        carried.wanted.set(change.name, change.value);
        carried.applied.set(change.name, change.value);
        break;
      case Kind::reset:
      case Kind::reset_raw:
        reset(change.name, change.kind == Kind::reset_raw);
        break;
      case Kind::reset_all:
        carried.wanted = reset_all(startup, carried.wanted);
        carried.applied = reset_all(startup, carried.applied);
        carried.all_known = true;
        carried.unclear = false;
        break;
      case Kind::reset_all_raw:
        carried.wanted = reset_all(startup, carried.wanted);
        carried.applied = reset_all(SettingSet{}, carried.applied);
        carried.all_known = true;
        carried.unclear = false;
        break;
      case Kind::unclear:
        carried.all_known = false;
        carried.unclear = true;
        break;
    }
  }
  return carried;
}

}  // namespace dwspool::session
