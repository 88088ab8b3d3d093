// What was said, and what it does: the log as the decision table and the catalog want to see it.
#include <functional>
#include <map>
#include <utility>

#include "dwspool/sql/fingerprint.h"
#include "dwspool/sql/quote.h"
#include "dwspool/sql/statement.h"

#include "dwspool/retry/facts.h"
#include "dwspool/retry/unit_log.h"

#include "dwspool/session/replayed_session.h"

namespace dwspool::session {
namespace {

using Bodies = std::map<std::string, std::optional<std::string>, std::less<>>;

// PREPARE and DEALLOCATE do no more than a SET, if they can be carried.
bool is_light(const sql::Statement& seen) {
  if (seen.is_only(sql::StatementKind::prepare)) return can_be_carried(seen);
  return seen.is_only(sql::StatementKind::deallocate);
}

// What an EXECUTE does is what was prepared, with the functions among its arguments.
void adopt_body(retry::TextFacts& facts, const std::string& body) {
  retry::TextFacts inner = retry::understand(body);
  if (inner.statements.size() != 1 || facts.statements.size() != 1) return;
  const retry::StatementFacts outer = std::move(facts.statements.front());
  facts = std::move(inner);
  retry::StatementFacts& statement = facts.statements.front();
  statement.external = statement.external || outer.external;
  statement.functions.insert(statement.functions.end(), outer.functions.begin(),
                             outer.functions.end());
}

}  // namespace

std::vector<retry::UnitTexts> ReplayedSession::texts_of_log(std::size_t size) const {
  return retry::texts_of(std::string_view(recording_->log).substr(0, size),
                         [&](std::string_view name) -> std::optional<std::string> {
                           const PreparedStatement* known = session_.statement(name);
                           if (known == nullptr) return {};
                           return known->query;
                         });
}

// What a text does, by the texts that were prepared before it. Without a text anything is possible.
std::vector<ReplayedSession::UnitFacts> ReplayedSession::facts_of_log(std::size_t size) const {
  const std::vector<retry::UnitTexts> units = texts_of_log(size);
  // A name that is prepared in the log did not stand for that before it.
  Bodies bodies;
  for (const retry::UnitTexts& unit : units) {
    for (const std::optional<std::string>& text : unit.texts) {
      if (!text) continue;
      const sql::Statement seen = sql::recognize(*text);
      if (seen.is_only(sql::StatementKind::prepare)) bodies[sql::identifier_of(seen.name)] = {};
    }
  }
  const auto body_of = [&](std::string_view name) -> std::optional<std::string> {
    if (const auto found = bodies.find(name); found != bodies.end()) return found->second;
    const std::string_view text = session_.sql_statement(name);
    if (text.empty()) return {};
    return std::string(sql::recognize(text).body);
  };
  std::vector<UnitFacts> all;
  for (const retry::UnitTexts& unit : units) {
    UnitFacts& facts_of_unit = all.emplace_back();
    for (const std::optional<std::string>& text : unit.texts) {
      if (!text) {
        facts_of_unit.emplace_back();
        continue;
      }
      retry::TextFacts facts = retry::understand(*text);
      const sql::Statement seen = sql::recognize(*text);
      if (is_light(seen)) {
        if (seen.kind == sql::StatementKind::prepare) {
          bodies[sql::identifier_of(seen.name)] = std::string(seen.body);
        }
        retry::StatementFacts light;
        light.nature = retry::Nature::light;
        facts = {true, {light}};
      } else if (seen.is_only(sql::StatementKind::execute)) {
        const std::optional<std::string> body = body_of(sql::identifier_of(seen.name));
        if (body) adopt_body(facts, *body);
      }
      for (retry::StatementFacts& statement : facts.statements) {
        // An EXECUTE of something that is not known.
        const bool anything = facts.understood && statement.nature == retry::Nature::unknown;
        statement.external = statement.external || anything;
      }
      facts_of_unit.emplace_back(std::move(facts));
    }
  }
  return all;
}

std::vector<retry::LoggedUnit> ReplayedSession::logged_units(std::size_t size,
                                                             bool& asked_not_to) const {
  for (const retry::UnitTexts& texts : texts_of_log(size)) {
    for (const std::optional<std::string>& text : texts.texts) {
      if (text && retry::asks_for_no_replay(*text)) asked_not_to = true;
    }
  }
  std::vector<retry::LoggedUnit> units;
  for (UnitFacts& texts : facts_of_log(size)) {
    retry::LoggedUnit& unit = units.emplace_back();
    for (std::optional<retry::TextFacts>& facts : texts) {
      if (!facts) {
        unit.understood = false;
        unit.statements.emplace_back();  // anything is possible; the others keep their places
        continue;
      }
      unit.understood = unit.understood && facts->understood;
      for (retry::StatementFacts& statement : facts->statements) {
        unit.statements.push_back(std::move(statement));
      }
    }
  }
  return units;
}

// Of the statement that the client waits for, as far as it is known.
std::optional<std::string> ReplayedSession::text_of_failed(const retry::Transcript& told) const {
  if (!recording_) return {};
  std::vector<retry::UnitTexts> units = texts_of_log(recording_->log.size());
  if (told.units().size() >= units.size()) return {};
  auto& texts = units[told.units().size()].texts;
  const std::size_t i = told.current().completed;
  return i < texts.size() ? std::move(texts[i]) : std::nullopt;
}

// 0 when it is not known.
std::uint64_t ReplayedSession::fingerprint_of_failed(const retry::Transcript& told) const {
  const std::optional<std::string> text = text_of_failed(told);
  return text ? sql::fingerprint(*text) : 0;
}

// The functions and relations that are named in the beginning of the log.
retry::CatalogNames ReplayedSession::names_in_log(std::size_t size) const {
  retry::CatalogNames names;
  for (const UnitFacts& unit : facts_of_log(size)) {
    for (const std::optional<retry::TextFacts>& facts : unit) {
      if (!facts) continue;  // then it was not allowed in the first place
      for (const retry::StatementFacts& statement : facts->statements) {
        names.functions.insert(names.functions.end(), statement.functions.begin(),
                               statement.functions.end());
        names.relations.insert(names.relations.end(), statement.relations.begin(),
                               statement.relations.end());
      }
    }
  }
  return names;
}

// Whether what the client was told has left something in the session that outlives a ROLLBACK, and
// that a client relies on: a lock above all.
bool ReplayedSession::leaves_state(const retry::Transcript& told) const {
  using sql::Effect;
  SqlStatementsPtr carried = session_.sql_statements();
  const std::vector<retry::UnitTexts> units = texts_of_log(recording_->log.size());
  for (std::size_t i = 0; i < units.size() && i <= told.units().size(); ++i) {
    const bool whole = i < told.units().size();
    std::size_t left = whole ? units[i].texts.size() : told.current().completed;
    for (const std::optional<std::string>& text : units[i].texts) {
      if (left-- == 0) break;
      if (!text) continue;
      const sql::Statement seen = sql::recognize(*text);
      if (can_be_carried(seen)) {
        if (seen.kind != sql::StatementKind::prepare) continue;
        const SqlStatement more{sql::identifier_of(seen.name), *text, {}};
        if (!has_room_for(carried, more)) return true;
        carried = with(carried, more);
        continue;
      }
      const sql::Effects effects = seen.effects;
      if (effects.has(Effect::advisory_lock) || effects.has(Effect::loads_module) ||
          effects.has(Effect::prepares)) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace dwspool::session
