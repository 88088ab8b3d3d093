#include "dwspool/session/prepared.h"

#include <algorithm>
#include <cassert>

#include "dwspool/sql/quote.h"

#include "dwspool/session/settings.h"

namespace dwspool::session {

SpecialPtr special_of(const sql::Statement& statement, std::string_view text) {
  if (!statement.single) return nullptr;
  SpecialStatement special;
  special.kind = statement.kind;
  if (statement.kind == sql::StatementKind::deallocate || can_be_carried(statement)) {
    special.name = sql::identifier_of(statement.name);
    if (statement.kind == sql::StatementKind::prepare) special.value = text;
  } else if (statement.changes.size() == 1) {
    const sql::PlainChange& change = statement.changes.front();
    special.kind = change.kind;
    special.name = setting_named(change.name);
    special.value = value_of(change);
  } else {
    return nullptr;
  }
  return std::make_shared<const SpecialStatement>(std::move(special));
}

sql::Effects effects_of(const sql::Statement& statement, const SpecialPtr& special) {
  sql::Effects effects = statement.effects;
  if (!special && !statement.changes.empty()) effects.add(sql::Effect::changes_setting);
  if (special && (special->kind == sql::StatementKind::prepare ||
                  special->kind == sql::StatementKind::execute)) {
    effects.remove(bit(sql::Effect::prepares));
  }
  return effects;
}

std::string_view substitute_for(std::string_view query, const SpecialPtr& special) {
  const bool replaced = special && special->kind == sql::StatementKind::deallocate;
  return replaced ? std::string_view{} : query;
}

// --- PreparedTable ---

void PreparedTable::make_key(std::string_view scope, std::string_view query,
                             std::string_view types) {
  key_.assign(scope);
  key_ += '\0';
  key_ += query;
  key_ += '\0';
  key_ += types;
}

PreparedPtr PreparedTable::find() {
  const auto found = table_.find(key_);
  if (found == table_.end()) return nullptr;
  PreparedPtr known = found->second.lock();
  return known && !known->outdated ? known : nullptr;
}

PreparedPtr PreparedTable::insert(std::shared_ptr<PreparedStatement> statement) {
  if (table_.size() >= sweep_at_) sweep();
  table_[key_] = statement;
  return statement;
}

PreparedPtr PreparedTable::renew(const PreparedStatement& outdated) {
  make_key(outdated.scope, outdated.query, outdated.types);
  if (PreparedPtr known = find()) return known;
  auto statement = std::make_shared<PreparedStatement>(outdated);
  statement->id = ++last_id_;
  statement->outdated = false;
  return insert(std::move(statement));
}

PreparedPtr PreparedTable::adopt(const PreparedStatement& other) {
  // The text of a special one is not what its key was made of: nobody will find it, or need to.
  if (!other.special && !other.outdated) {
    make_key(other.scope, other.query, other.types);
    if (PreparedPtr known = find()) return known;
  }
  auto statement = std::make_shared<PreparedStatement>(other);
  statement->id = ++last_id_;
  return other.special || other.outdated ? statement : insert(statement);
}

void PreparedTable::sweep() {
  std::erase_if(table_, [](const auto& entry) { return entry.second.expired(); });
  sweep_at_ = std::max<std::size_t>(256, table_.size() * 2);
}

// --- ClientStatements ---

PreparedPtr ClientStatements::at(std::string_view name) const {
  const PreparedPtr* known = find(name);
  return known != nullptr ? *known : nullptr;
}

void ClientStatements::put(std::string_view name, PreparedPtr statement) {
  if (journal_ != nullptr) journal_->emplace_back(name, at(name));
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  if (found != entries_.end()) {
    if (statement) {
      found->second = std::move(statement);
    } else {
      entries_.erase(found);
    }
    return;
  }
  const auto large = large_.find(name);
  if (!statement) {
    if (large != large_.end()) large_.erase(large);
  } else if (large != large_.end()) {
    large->second = std::move(statement);
  } else if (entries_.size() < small_limit) {
    entries_.emplace_back(name, std::move(statement));
  } else {
    large_.emplace(name, std::move(statement));
  }
}

void ClientStatements::set(std::string_view name, PreparedPtr statement) {
  // It begins anew, with nothing promised, even if it is the same statement.
  std::erase(described_, statement->id);
  changes_.push({std::string(name), at(name), statement, false});
  put(name, std::move(statement));
}

void ClientStatements::erase(std::string_view name) {
  changes_.push({std::string(name), at(name), nullptr, false});
  put(name, nullptr);
}

void ClientStatements::set_if_free(std::string_view name, PreparedPtr statement) {
  changes_.push({std::string(name), nullptr, std::move(statement), true});
}

void ClientStatements::replace(std::string_view name, PreparedPtr statement) {
  const PreparedPtr before = at(name);
  for (std::size_t i = 0; i < changes_.size(); ++i) {
    Change& change = changes_[i];
    if (change.name == name && change.after == before) change.after = statement;
  }
  put(name, std::move(statement));
}

void ClientStatements::note_described(std::uint64_t statement) {
  static constexpr std::size_t many = 16;
  if (std::find(described_.begin(), described_.end(), statement) != described_.end()) return;
  if (described_.size() >= many && described_.size() >= 2 * size()) forget_described();
  described_.push_back(statement);
}

bool ClientStatements::is_described(const PreparedStatement& statement) const {
  return std::find(described_.begin(), described_.end(), statement.id) != described_.end();
}

// Of statements that the client has no more.
void ClientStatements::forget_described() {
  std::erase_if(described_, [&](std::uint64_t id) {
    bool held = false;
    for_each([&](std::string_view /*name*/, const PreparedPtr& statement) {
      held = held || statement->id == id;
    });
    return !held;
  });
}

void ClientStatements::settle() {
  if (changes_.empty()) return;
  Change& change = changes_.front();
  if (change.tentative) put(change.name, std::move(change.after));
  changes_.pop();
}

void ClientStatements::undo(std::size_t count) {
  count = std::min(count, changes_.size());
  for (std::size_t i = count; i > 0; --i) {
    Change& change = changes_[i - 1];
    // Something sent behind the error's Sync may have changed it again.
    if (!change.tentative && at(change.name) == change.after) {
      put(change.name, std::move(change.before));
    }
  }
  if (count > 0) changes_.pop(count);
}

void ClientStatements::rewind() {
  changes_.clear();
  sql_ = sql_before_;
  Journal* journal = journal_;
  journal_ = nullptr;
  for (auto entry = journal->rbegin(); entry != journal->rend(); ++entry) {
    put(entry->first, std::move(entry->second));
  }
  journal->clear();
  journal_ = journal;
}

void ClientStatements::clear_settled() {
  if (journal_ != nullptr) {
    for_each([&](std::string_view name, const PreparedPtr& statement) {
      journal_->emplace_back(name, statement);
    });
  }
  entries_.clear();
  large_.clear();
  sql_.reset();
  for (std::size_t i = 0; i < changes_.size(); ++i) {
    Change& change = changes_[i];
    if (change.tentative) continue;
    change.before = at(change.name);
    put(change.name, change.after);
  }
}

// --- BackendStatements ---

const BackendStatements::Held* BackendStatements::use(const PreparedStatement& statement) {
  const auto found = by_id_.find(statement.id);
  if (found == by_id_.end()) return nullptr;
  if (found->second != order_.begin()) {
    order_.splice(order_.begin(), order_, found->second);
  }
  return &order_.front();
}

const PreparedStatement* BackendStatements::named(std::string_view name) const {
  const auto found = names_.find(name);
  if (found == names_.end()) return nullptr;
  return by_id(found->second);
}

const PreparedStatement* BackendStatements::by_id(std::uint64_t id) const {
  const auto held = by_id_.find(id);
  return held == by_id_.end() ? nullptr : held->second->statement.get();
}

void BackendStatements::insert(PreparedPtr statement, std::string name, bool confirmed) {
  names_[name] = statement->id;
  order_.push_front(Held{std::move(statement), std::move(name), confirmed});
  by_id_[order_.front().statement->id] = order_.begin();
}

// The statement goes, its name stays taken.
void BackendStatements::forget(std::uint64_t id) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  order_.erase(found->second);
  by_id_.erase(found);
}

const BackendStatements::Held& BackendStatements::add(PreparedPtr statement,
                                                      std::string_view wanted_name) {
  assert(!holds(*statement));
  std::string name(wanted_name);
  while (name.empty() || holds_name(name)) name = "dwspool_" + std::to_string(++last_own_name_);
  changes_.push({Change::Kind::parse, statement, name});
  insert(std::move(statement), std::move(name), false);
  return order_.front();
}

void BackendStatements::expect_refusal(PreparedPtr statement, std::string_view name) {
  changes_.push({Change::Kind::refusal, std::move(statement), std::string(name)});
}

std::string BackendStatements::remove(const PreparedStatement& statement) {
  const auto found = by_id_.find(statement.id);
  assert(found != by_id_.end());
  std::string name = found->second->name;
  changes_.push({Change::Kind::close, found->second->statement, name});
  forget(statement.id);
  return name;
}

std::string BackendStatements::remove_surplus(std::size_t limit) {
  if (!left_over_.empty()) {
    std::string name = std::move(left_over_.back());
    left_over_.pop_back();
    changes_.push({Change::Kind::close, nullptr, name});
    return name;
  }
  if (order_.size() <= limit) return {};
  for (auto held = order_.rbegin(); held != order_.rend(); ++held) {
    if (held->confirmed) return remove(*held->statement);
  }
  return {};
}

void BackendStatements::settle() {
  if (changes_.empty()) return;
  const Change change = std::move(changes_.front());
  changes_.pop();
  switch (change.kind) {
    case Change::Kind::parse:
      if (const auto held = by_id_.find(change.statement->id);
          held != by_id_.end() && held->second->name == change.name) {
        held->second->confirmed = true;
      }
      break;
    case Change::Kind::close:
      if (const auto name = names_.find(change.name); name != names_.end()) names_.erase(name);
      break;
    case Change::Kind::refusal:
      // What had the name was skipped, so that now this one has it.
      if (holds(*change.statement)) {
        names_[change.name] = 0;
        left_over_.push_back(change.name);
      } else {
        insert(change.statement, change.name, true);
      }
      break;
  }
}

void BackendStatements::undo(std::size_t count) {
  count = std::min(count, changes_.size());
  for (std::size_t i = count; i > 0; --i) {
    Change& change = changes_[i - 1];
    switch (change.kind) {
      case Change::Kind::parse: {
        const auto held = by_id_.find(change.statement->id);
        if (held != by_id_.end() && held->second->name == change.name) {
          forget(change.statement->id);
        }
        if (const auto name = names_.find(change.name); name != names_.end()) names_.erase(name);
        break;
      }
      case Change::Kind::close:
        if (change.statement && !holds(*change.statement)) {
          insert(std::move(change.statement), std::move(change.name), true);
        } else {
          names_[change.name] = 0;
          left_over_.push_back(std::move(change.name));
        }
        break;
      case Change::Kind::refusal:
        break;
    }
  }
  if (count > 0) changes_.pop(count);
}

void BackendStatements::erase_confirmed() {
  std::erase_if(order_, [&](const Held& held) {
    if (!held.confirmed) return false;
    by_id_.erase(held.statement->id);
    return true;
  });
  left_over_.clear();
  names_.clear();
  for (const Held& held : order_) names_[held.name] = held.statement->id;
}

void BackendStatements::clear() {
  by_id_.clear();
  names_.clear();
  order_.clear();
  left_over_.clear();
  changes_.clear();
}

void BackendStatements::move_to(PreparedTable& table) {
  assert(changes_.empty());
  std::list<Held> old;
  old.swap(order_);
  by_id_.clear();
  for (auto held = old.rbegin(); held != old.rend(); ++held) {
    const PreparedPtr statement = table.adopt(*held->statement);
    if (holds(*statement)) {
      left_over_.push_back(std::move(held->name));
    } else {
      insert(statement, std::move(held->name), held->confirmed);
    }
  }
}

}  // namespace dwspool::session
