// The decision table (doc/replay.md), cell by cell.
#include "dwspool/retry/decision.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/retry/coverage.h"

namespace dwspool::retry {
namespace {

// The units of a transaction, or of what comes without one; each may have several statements.
std::vector<LoggedUnit> units_of(const std::vector<std::string>& texts) {
  std::vector<LoggedUnit> units;
  for (const std::string& text : texts) {
    TextFacts facts = understand(text);
    units.push_back({std::move(facts.statements), facts.understood});
  }
  return units;
}

std::string describe(const Decision& decision) {
  std::string text;
  switch (decision.verdict) {
    case Verdict::pass:
      text = "pass";
      break;
    case Verdict::unknown_outcome:
      text = "08007";
      break;
    case Verdict::replay:
      return "replay";
    case Verdict::replay_if_reads:
      return "if reads";
  }
  return text + " " + std::string(to_string(decision.why));
}

struct Row {
  std::vector<std::string> units;  // the last one has failed
  bool in_transaction;
  // At level transaction:
  std::string_view refused;
  std::string_view doubtful;
  std::string_view lost;  // transaction_lost inside of one, else in_doubt
};

std::string decision_of(const Row& row, Failure failure, ReplayLevel level,
                        std::size_t completed = 0) {
  Situation situation;
  situation.level = level;
  situation.failure = failure;
  situation.in_transaction = row.in_transaction;
  situation.answered = row.units.size() - 1;
  situation.completed = completed;
  return describe(decide(situation, units_of(row.units)));
}

const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      // outside of a transaction: RO, RV, W, MQ, NT
      {{"select 1"}, false, "replay", "if reads", "if reads"},
      {{"select * from t order by a"}, false, "replay", "if reads", "if reads"},
      {{"select f(1)"}, false, "if reads", "if reads", "if reads"},
      {{"show timezone"}, false, "replay", "replay", "replay"},
      {{"set timezone to 'UTC'"}, false, "replay", "replay", "replay"},
      {{"insert into t values (1)"}, false, "replay", "08007 commit", "08007 commit"},
      {{"insert into t values (f(1))"}, false, "pass external", "08007 commit", "08007 commit"},
      {{"select * from t for update"}, false, "replay", "08007 commit", "08007 commit"},
      {{"create table t(a int)"}, false, "replay", "08007 commit", "08007 commit"},
      {{"insert into t values (1); insert into t values (2)"},
       false,
       "replay",
       "08007 commit",
       "08007 commit"},
      {{"vacuum t"}, false, "pass utility", "08007 commit", "08007 commit"},
      {{"call p()"}, false, "pass utility", "08007 commit", "08007 commit"},
      {{"select dblink_exec('x', 'delete from t')"},
       false,
       "pass external",
       "pass external",
       "08007 external"},
      // the first statement of a transaction
      {{"begin", "select * from t"}, true, "replay", "replay", "replay"},
      {{"begin", "insert into t values (1)"}, true, "replay", "replay", "replay"},
      {{"begin", "insert into t values (f(1))"}, true, "replay", "replay", "replay"},
      {{"begin", "set local work_mem to '1MB'", "savepoint a", "update t set a = 1"},
       true,
       "replay",
       "replay",
       "replay"},
      // later ones
      {{"begin", "insert into t values (1)", "update t set a = 1"},
       true,
       "replay",
       "replay",
       "replay"},
      {{"begin", "insert into t values (1)", "select 1"}, true, "replay", "replay", "replay"},
      // COMMIT
      {{"begin", "select 1", "commit"}, false, "replay", "if reads", "if reads"},
      {{"begin", "insert into t values (1)", "commit"},
       false,
       "08007 commit",
       "08007 commit",
       "08007 commit"},
      {{"begin", "insert into t values (1)", "select lo_create(0)"},
       true,
       "pass external",
       "pass external",
       "pass external"},
      {{"begin", "this is not SQL"}, true, "replay", "08007 commit", "replay"},
  };
  return table;
}

TEST_CASE("the decision table at level transaction") {
  for (const Row& row : rows()) {
    CAPTURE(row.units.back());
    CAPTURE(row.units.size());
    CHECK(decision_of(row, Failure::refused, ReplayLevel::transaction) == row.refused);
    CHECK(decision_of(row, Failure::read_only, ReplayLevel::transaction) == row.refused);
    CHECK(decision_of(row, Failure::doubtful, ReplayLevel::transaction) == row.doubtful);
    const Failure lost = row.in_transaction ? Failure::transaction_lost : Failure::in_doubt;
    CHECK(decision_of(row, lost, ReplayLevel::transaction) == row.lost);
    CHECK(decision_of(row, Failure::not_sent, ReplayLevel::transaction) == "replay");
  }
}

TEST_CASE("the decision table: lower levels never do more, and nothing is done at level off") {
  for (const Row& row : rows()) {
    CAPTURE(row.units.back());
    const Failure lost = row.in_transaction ? Failure::transaction_lost : Failure::in_doubt;
    for (const Failure failure :
         {Failure::refused, Failure::read_only, Failure::doubtful, lost, Failure::not_sent}) {
      CAPTURE(to_string(failure));
      const std::string off = decision_of(row, failure, ReplayLevel::off);
      const bool doubt = failure == Failure::in_doubt;
      CHECK(off == (doubt ? "08007 level" : "pass level"));
      const std::string connect = decision_of(row, failure, ReplayLevel::connect);
      CHECK(connect == (failure == Failure::not_sent ? "replay" : off));
      const std::string statement = decision_of(row, failure, ReplayLevel::statement);
      const std::string transaction = decision_of(row, failure, ReplayLevel::transaction);
      const bool again = statement == "replay" || statement == "if reads";
      if (again && statement != transaction) {
        // A transaction that has only read is proven to have done so, before it is run again.
        CHECK(statement == "if reads");
        CHECK(transaction == "replay");
      }
      CHECK(decision_of(row, failure, ReplayLevel::token) == transaction);
    }
  }
}

TEST_CASE("the decision table at level statement: what has written is not run again") {
  const auto at_statement = [](const std::vector<std::string>& units, Failure failure) {
    return decision_of({units, true, {}, {}, {}}, failure, ReplayLevel::statement);
  };
  CHECK(at_statement({"begin", "insert into t values (1)"}, Failure::refused) == "replay");
  CHECK(at_statement({"begin", "insert into t values (1)", "select 1"}, Failure::refused) ==
        "pass level");
  CHECK(at_statement({"begin", "insert into t values (1)"}, Failure::transaction_lost) ==
        "pass level");
  CHECK(at_statement({"begin", "select * from t"}, Failure::transaction_lost) == "if reads");
  CHECK(at_statement({"begin", "select * from t"}, Failure::doubtful) == "pass level");
}

TEST_CASE("the decision table: several statements in one request") {
  const Row row = {{"insert into t values (1); insert into t values (2)"}, false, {}, {}, {}};
  CHECK(decision_of(row, Failure::refused, ReplayLevel::transaction, 0) == "replay");
  CHECK(decision_of(row, Failure::refused, ReplayLevel::transaction, 1) == "pass multi");
  const Row reads = {{"select 1; insert into t values (2)"}, false, {}, {}, {}};
  CHECK(decision_of(reads, Failure::refused, ReplayLevel::transaction, 1) == "replay");
  const Row batch = {{"begin; insert into t values (1); commit"}, false, {}, {}, {}};
  CHECK(decision_of(batch, Failure::refused, ReplayLevel::transaction, 2) == "08007 commit");
}

TEST_CASE("an outdated statement was not run: what else was done is undone, or was none") {
  const auto decision = [](const Row& row, ReplayLevel level, std::size_t completed = 0) {
    return decision_of(row, Failure::outdated, level, completed);
  };
  const Row alone = {{"insert into t values (1)"}, false, {}, {}, {}};
  const Row batch = {{"insert into t values (1); select 1"}, false, {}, {}, {}};
  const Row reads = {{"select f(1); select 1"}, false, {}, {}, {}};
  const Row later = {{"begin", "insert into t values (1)", "select 1"}, true, {}, {}, {}};
  const Row sends = {{"begin", "select dblink_exec('x', 'y')", "select 1"}, true, {}, {}, {}};
  for (const ReplayLevel level : {ReplayLevel::statement, ReplayLevel::transaction}) {
    CHECK(decision(alone, level) == "replay");
    CHECK(decision(batch, level, 1) == "pass multi");
    CHECK(decision(sends, level) == "pass external");
  }
  CHECK(decision(reads, ReplayLevel::transaction, 1) == "replay");
  CHECK(decision(later, ReplayLevel::statement) == "pass level");
  CHECK(decision(later, ReplayLevel::transaction) == "replay");
  CHECK(decision(alone, ReplayLevel::connect) == "pass level");
}

TEST_CASE("a hint against replay counts whatever has failed, but for what was never sent") {
  Situation situation;
  situation.level = ReplayLevel::transaction;
  situation.asked_not_to = true;
  const std::vector<LoggedUnit> units = units_of({"select 1"});
  for (const Failure failure : {Failure::refused, Failure::doubtful, Failure::read_only,
                                Failure::transaction_lost, Failure::in_doubt}) {
    situation.failure = failure;
    CHECK(describe(decide(situation, units)) ==
          (failure == Failure::in_doubt ? "08007 asked" : "pass asked"));
  }
  situation.failure = Failure::not_sent;
  CHECK(describe(decide(situation, units)) == "replay");

  for (const std::string_view text :
       {"/*+ noreplay */ select 1", "select /*+NOREPLAY*/ 1", "select /*+ leading(a) noreplay */ 1",
        "/*+ x */ select /*+ noReplay, y */ 1"}) {
    CAPTURE(text);
    CHECK(asks_for_no_replay(text));
  }
  for (const std::string_view text : {"select 1", "/* noreplay */ select 1", "/*+ noreplays */",
                                      "/*+ noreplay", "/*+", "select '/*+ replay */'", ""}) {
    CAPTURE(text);
    CHECK_FALSE(asks_for_no_replay(text));
  }
}

TEST_CASE("the names of the levels") {
  for (const ReplayLevel level : {ReplayLevel::off, ReplayLevel::connect, ReplayLevel::statement,
                                  ReplayLevel::transaction, ReplayLevel::token}) {
    CHECK(read_replay_level(to_string(level)) == level);
  }
  CHECK(read_replay_level("TransAction") == ReplayLevel::transaction);
  CHECK_FALSE(read_replay_level("on"));
  CHECK_FALSE(read_replay_level(""));
}

TEST_CASE("what a loss would come to, at every point of a transaction") {
  const std::vector<std::string> texts = {"begin",       "insert into t values (1)",
                                          "select f(1)", "commit",
                                          "select 1",    "insert into t values (2)"};
  const std::vector<LoggedUnit> units = units_of(texts);
  const std::vector<std::string_view> expected = {"replay",       "replay",       "replay",
                                                  "08007 commit", "08007 commit", "08007 commit"};
  for (std::size_t at = 0; at < units.size(); ++at) {
    CAPTURE(texts[at]);
    const Decision decision = decide_as_if_lost(ReplayLevel::transaction, units, at, false);
    CHECK(describe(decision) == expected[at]);
  }
  CHECK(describe(decide_as_if_lost(ReplayLevel::statement, units, 1, false)) == "pass level");
  CHECK(describe(decide_as_if_lost(ReplayLevel::transaction, units, 1, true)) == "pass asked");
  const std::vector<LoggedUnit> chain = units_of({"begin", "commit and chain", "select 1"});
  CHECK(describe(decide_as_if_lost(ReplayLevel::transaction, chain, 2, false)) == "replay");
  const std::vector<LoggedUnit> unclear = units_of({"begin", "this is not SQL"});
  CHECK(describe(decide_as_if_lost(ReplayLevel::transaction, unclear, 1, false)) == "08007 commit");
}

TEST_CASE(
    "a refusal of what nobody knows, or behind all that is known, is in doubt outside a block") {
  std::vector<LoggedUnit> units = units_of({"insert into t values (1)"});
  Situation situation;
  situation.level = ReplayLevel::transaction;
  situation.failure = Failure::refused;
  situation.completed = 1;  // what is left is the commit that comes with Sync
  CHECK(describe(decide(situation, units)) == "08007 commit");
  units = {{{StatementFacts{}}, false}};  // a function call, or a statement from elsewhere
  situation.completed = 0;
  CHECK(describe(decide(situation, units)) == "08007 unreadable");
  situation.in_transaction = true;
  CHECK(describe(decide(situation, units)) == "replay");
}

}  // namespace
}  // namespace dwspool::retry
