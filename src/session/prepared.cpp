#include "dwspool/session/prepared.h"

#include <algorithm>
#include <cassert>

namespace dwspool::session {

void PreparedTable::make_key(std::string_view query, std::string_view types) {
  key_.assign(query);
  key_ += '\0';
  key_ += types;
}

PreparedPtr PreparedTable::find() {
  const auto found = table_.find(key_);
  return found == table_.end() ? nullptr : found->second.lock();
}

PreparedPtr PreparedTable::insert(std::shared_ptr<PreparedStatement> statement) {
  if (table_.size() >= sweep_at_) sweep();
  table_[key_] = statement;
  return statement;
}

void PreparedTable::sweep() {
  std::erase_if(table_, [](const auto& entry) { return entry.second.expired(); });
  sweep_at_ = std::max<std::size_t>(256, table_.size() * 2);
}

void ClientStatements::set(std::string_view name, PreparedPtr statement) {
  for (auto& [known, held] : entries_) {
    if (known == name) {
      held = std::move(statement);
      return;
    }
  }
  if (const auto found = large_.find(name); found != large_.end()) {
    found->second = std::move(statement);
  } else if (entries_.size() < small_limit) {
    entries_.emplace_back(name, std::move(statement));
  } else {
    large_.emplace(name, std::move(statement));
  }
}

void ClientStatements::erase(std::string_view name) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  if (found != entries_.end()) {
    entries_.erase(found);
    return;
  }
  if (const auto large = large_.find(name); large != large_.end()) large_.erase(large);
}

const BackendStatements::Held* BackendStatements::use(const PreparedStatement& statement) {
  const auto found = by_id_.find(statement.id);
  if (found == by_id_.end()) return nullptr;
  if (found->second != order_.begin()) {
    order_.splice(order_.begin(), order_, found->second);
  }
  return &order_.front();
}

const BackendStatements::Held& BackendStatements::add(PreparedPtr statement,
                                                      std::string_view wanted_name) {
  assert(!holds(*statement));
  std::string name(wanted_name);
  if (name.empty() || holds_name(name)) name = "dwspool_" + std::to_string(statement->id);
  by_name_[name] = statement->id;
  order_.push_front(Held{std::move(statement), std::move(name), false});
  by_id_[order_.front().statement->id] = order_.begin();
  return order_.front();
}

void BackendStatements::confirm(std::uint64_t id) {
  if (const auto found = by_id_.find(id); found != by_id_.end()) found->second->confirmed = true;
}

void BackendStatements::erase(std::uint64_t id) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  if (const auto name = by_name_.find(found->second->name); name != by_name_.end()) {
    by_name_.erase(name);
  }
  order_.erase(found->second);
  by_id_.erase(found);
}

void BackendStatements::erase_confirmed() {
  std::vector<std::uint64_t> gone;
  for (const Held& held : order_) {
    if (held.confirmed) gone.push_back(held.statement->id);
  }
  for (const std::uint64_t id : gone) erase(id);
}

void BackendStatements::clear() {
  by_id_.clear();
  by_name_.clear();
  order_.clear();
}

void BackendStatements::move_to(PreparedTable& table) {
  std::list<Held> old;
  old.swap(order_);
  clear();
  for (auto held = old.rbegin(); held != old.rend(); ++held) {
    const sql::Effects effects = held->statement->effects;
    const PreparedPtr statement = table.intern(held->statement->query, held->statement->types,
                                               [&](std::string_view) { return effects; });
    by_name_[held->name] = statement->id;
    order_.push_front(Held{statement, held->name, held->confirmed});
    by_id_[statement->id] = order_.begin();
  }
}

const BackendStatements::Held* BackendStatements::oldest() const {
  for (auto held = order_.rbegin(); held != order_.rend(); ++held) {
    if (held->confirmed) return &*held;
  }
  return nullptr;
}

}  // namespace dwspool::session
