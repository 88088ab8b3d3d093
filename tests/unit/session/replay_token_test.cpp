// Level `token`: a row goes with the COMMIT, and says what became of it when the answer is lost.
#include "dwspool/retry/commit_token.h"

#include "replay_script.h"

namespace dwspool::testing {
namespace {

using retry::Failure;
using retry::Refusal;
using retry::ReplayResult;
using retry::TokenUse;
using retry::TokenVerdict;
using session::Next;

constexpr std::string_view insert_1 =
    "INSERT INTO dwspool.commit_token (token) VALUES ('p/3600/1')";
constexpr std::string_view question_1 = "Q:SELECT dwspool.outcome('p/3600/1')";

std::string own(std::string_view sql) {
  return "P:dwspool_token=" + std::string(sql) + " B:dwspool_token E C:Sdwspool_token";
}

std::string outcome(std::string_view word) {
  return message('T') + row(word) + complete("SELECT 1") + ready('I');
}

class TokenScript : public ReplayScript {
 public:
  explicit TokenScript(bool available = true) : ReplayScript(replay_options(ReplayLevel::token)) {
    replay().tokens.prefix = "p";
    if (available) replay().tokens.note_available();
  }
  // A transaction that has written, up to its COMMIT.
  TokenScript& written() {
    client(query("begin")).client(query("insert into t values (1)")).grant_fresh();
    server(begun() + complete("INSERT 0 1") + ready('T'));
    to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T");
    to_server("P:=begin B: E Q:insert into t values (1)");
    return *this;
  }
  // Lost in its COMMIT, and the answer to the question.
  TokenScript& lost() {
    written().client(query("commit"));
    to_server("Q:" + std::string(insert_1) + "\n;commit");
    lose_backend().silent().grant_fresh().to_server(question_1);
    return *this;
  }
};

}  // namespace

TEST_CASE("token: goes with the COMMIT, and the client sees nothing of it") {
  with_all_cuts([](unsigned seed) {
    TokenScript script;
    script.cut(seed);
    script.written().client(query("commit"));
    script.to_server("Q:" + std::string(insert_1) + "\n;commit");
    script.server(complete("INSERT 0 1") + complete("COMMIT") + ready('I'));
    script.to_client("C:COMMIT Z:I").expect(Next::release);
    CHECK(script.queries == 3);
    CHECK(script.transactions == 1);
    CHECK(script.notes.empty());
  });
}

TEST_CASE("token: none for what has written nothing, failed, or is not to be run again") {
  TokenScript script;
  std::string begin = "begin";
  std::string text = "insert into t values (1)";
  std::string answer = complete("INSERT 0 1") + ready('T');
  SUBCASE("a read") {
    text = "select * from t";
    answer = complete("SELECT 0") + ready('T');
  }
  SUBCASE("failed") {
    answer = error("23505") + ready('E');
  }
  SUBCASE("not to be run again") {
    text = "insert /*+ noreplay */ into t values (1)";
  }
  SUBCASE("a function in a transaction that says READ ONLY") {
    begin = "begin read only";
    text = "select f()";
    answer = complete("SELECT 1") + ready('T');
  }
  script.client(query(begin)).client(query(text)).grant_fresh().server(begun() + answer);
  script.client(query("commit"));
  script.to_server("P:=" + begin + " B: E Q:" + text + " Q:commit");
  script.server(complete("COMMIT") + ready('I')).expect(Next::release);
}

TEST_CASE("token: a sample says that a COMMIT is protected, where there are tokens") {
  for (const bool available : {true, false}) {
    CAPTURE(available);
    TokenScript script(available);
    if (!available) script.replay().tokens.note_unavailable(script.now());
    script.replay().until_sample = 1;
    script.replay().samples = 1;  // the last of three units is looked at
    script.written().client(query("commit"));
    if (available) script.server(complete("INSERT 0 1"));
    script.server(complete("COMMIT") + ready('I')).to_client("C:COMMIT Z:I");
    REQUIRE(script.sample);
    CHECK((*script.sample == Refusal::none) == available);
  }
}

TEST_CASE("token: none for a COMMIT that does not stand alone") {
  TokenScript script;
  std::string commit = "commit";
  SUBCASE("in a text of several") {
    commit = "insert into t values (2); commit";
  }
  SUBCASE("and a transaction behind it") {
    commit = "commit and chain";
  }
  SUBCASE("ROLLBACK") {
    commit = "rollback";
  }
  script.written().client(query(commit)).to_server("Q:" + commit);
}

TEST_CASE("token: none behind a request that is not answered yet") {
  TokenScript script;
  script.written().client(query("update t set a = 1") + query("commit"));
  script.to_server("Q:update t set a = 1 Q:commit");
}

TEST_CASE("token: a COMMIT that has succeeded is told to have") {
  with_all_cuts([](unsigned seed) {
    TokenScript script;
    script.cut(seed);
    script.lost().server(outcome("committed")).to_client("C:COMMIT Z:I").expect(Next::release);
    script.check_verdict(TokenVerdict::committed, ReplayResult::masked);
    CHECK(script.replay().memory == 0);
    script.go_on().client(query("select 2")).grant_fresh().to_server("Q:select 2");
    CHECK(script.errors == 0);
    CHECK(script.queries == 3);
    CHECK(script.transactions == 1);
  });
}

TEST_CASE("token: what is held of the answer comes first, and only the rest is made up") {
  TokenScript script;
  script.written().client(query("commit")).to_server("Q:" + std::string(insert_1) + "\n;commit");
  script.server(complete("INSERT 0 1") + complete("COMMIT")).to_client("");
  script.lose_backend()
      .silent()
      .grant_fresh()
      .server(outcome("committed"))
      .to_client("C:COMMIT Z:I");
  script.check_verdict(TokenVerdict::committed, ReplayResult::masked);
}

TEST_CASE("token: a COMMIT that never will succeed is run again, with another token") {
  with_all_cuts([](unsigned seed) {
    TokenScript script;
    script.cut(seed);
    script.lost().server(outcome("aborted")).expect(Next::release).go_on().grant_fresh();
    script.to_client("").to_server("P:=begin B: E Q:insert into t values (1)");
    script.server(begun() + complete("INSERT 0 1") + ready('T')).go_on();
    script.to_server("Q:INSERT INTO dwspool.commit_token (token) VALUES ('p/3600/2')\n;commit");
    script.server(complete("INSERT 0 1") + complete("COMMIT") + ready('I'));
    script.to_client("C:COMMIT Z:I").expect(Next::release);
    script.check_verdict(TokenVerdict::aborted, ReplayResult::masked);
    CHECK(script.errors == 0);
    CHECK(script.transactions == 1);
  });
}

TEST_CASE("token: with other results the second time it has failed, and nothing is left open") {
  TokenScript script;
  script.lost().server(outcome("aborted")).go_on().grant_fresh();
  script.server(begun() + complete("INSERT 0 2") + ready('T'));
  script.to_client("E:40001 Z:I");
  script.check_verdict(TokenVerdict::aborted, ReplayResult::mismatch);
}

TEST_CASE("token: a COMMIT that fails for good ends the transaction") {
  TokenScript script;
  script.lost().server(outcome("aborted")).go_on().grant_fresh().lose_backend();
  script.wait(10s).to_client("E:08006 Z:I");
  script.check_verdict(TokenVerdict::aborted, ReplayResult::deadline);
}

TEST_CASE("token: the second COMMIT may be lost as well") {
  TokenScript script;
  script.lost().server(outcome("aborted")).go_on().grant_fresh();
  script.server(begun() + complete("INSERT 0 1") + ready('T')).go_on().lose_backend();
  script.to_client("").wait(1s).grant_fresh();
  script.to_server(
      "P:=begin B: E Q:insert into t values (1) Q:INSERT INTO dwspool.commit_token (token) VALUES "
      "('p/3600/2')\n;commit Q:SELECT dwspool.outcome('p/3600/2')");
  script.server(outcome("committed")).to_client("C:COMMIT Z:I");
  script.check_verdict(TokenVerdict::committed, ReplayResult::masked);
}

TEST_CASE("token: 08007 with the token when nobody answers for it") {
  TokenScript script;
  SUBCASE("the function is missing") {
    script.lost().server(error("42883") + ready('I')).to_client("E:08007 Z:I");
    script.check_verdict(TokenVerdict::unknown, ReplayResult::in_doubt);
    return;
  }
  SUBCASE("not before the deadline") {
    script.lost().server(error("25006") + ready('I')).to_client("");
    script.wait(1s).grant_fresh().to_server(question_1).server(outcome("unknown"));
    script.wait(10s).to_client("E:08007 Z:I");
    script.check_verdict(TokenVerdict::unknown, ReplayResult::deadline);
  }
  SUBCASE("the client will not wait") {
    script.lost().server(error("25006") + ready('I')).wait(1s).expect(Next::need_backend);
    script.cancel_while_waiting();
    script.to_client("E:08007 Z:I");
    script.check_verdict(TokenVerdict::unknown, ReplayResult::canceled);
  }
  CHECK(script.raw_to_client().find("SELECT dwspool.outcome('p/3600/1')") != std::string::npos);
}

TEST_CASE("token: the question is asked again when its own answer is lost") {
  TokenScript script;
  script.lost().lose_backend().wait(1s).grant_fresh().to_server(question_1);
  script.server(outcome("committed")).to_client("C:COMMIT Z:I");
}

TEST_CASE("token: whether there is a place for it is asked once") {
  with_all_cuts([](unsigned seed) {
    TokenScript script(false);
    script.cut(seed);
    script.written().client(query("commit"));
    script.to_server(own(retry::token_question()) + " H");
    const std::string head = message('1') + message('2');
    const std::string tail = complete("SELECT 1") + message('3');
    SUBCASE("there is") {
      script.server(head + row("1") + tail).go_on();
      script.to_client("").to_server("Q:" + std::string(insert_1) + "\n;commit");
      script.server(complete("INSERT 0 1"));
    }
    SUBCASE("there is not") {
      script.server(head + row("0") + tail).go_on().to_client("").to_server("Q:commit");
      CHECK(script.replay().tokens.available(script.now()) == false);
      CHECK_FALSE(script.replay().tokens.available(script.now() + 61s));
    }
    script.server(complete("COMMIT") + ready('I')).to_client("C:COMMIT Z:I");
  });
}

TEST_CASE("token: one that cannot be written costs a second run, and not the COMMIT") {
  with_all_cuts([](unsigned seed) {
    TokenScript script;
    script.cut(seed);
    script.written().client(query("commit")).to_server("Q:" + std::string(insert_1) + "\n;commit");
    script.server(error("42P01")).to_client("").expect(Next::release);
    script.go_on().grant_fresh().server(begun() + complete("INSERT 0 1") + ready('T')).go_on();
    script.to_server("P:=begin B: E Q:insert into t values (1) Q:commit");
    script.server(complete("COMMIT") + ready('I')).to_client("C:COMMIT Z:I");
    script.check_note(Failure::transaction_lost, ReplayResult::masked);
    CHECK(script.errors == 0);
    CHECK(script.transactions == 1);
  });
}

TEST_CASE("token: a COMMIT that fails for its own reasons is not asked about") {
  TokenScript script;
  script.written().client(query("commit")).to_server("Q:" + std::string(insert_1) + "\n;commit");
  script.server(complete("INSERT 0 1") + error("23505") + ready('I'));
  script.to_client("E:23505 Z:I").expect(Next::release);
  CHECK(script.notes.empty());
}

TEST_CASE("token: a COMMIT that fails inside the cluster is") {
  TokenScript script;
  script.written().client(query("commit")).to_server("Q:" + std::string(insert_1) + "\n;commit");
  script.server(complete("INSERT 0 1") + error("08000", "failed to send COMMIT") + ready('I'));
  script.to_client("").expect(Next::release).go_on().grant_fresh().to_server(question_1);
  script.server(outcome("committed")).to_client("C:COMMIT Z:I");
  script.check_verdict(TokenVerdict::committed, ReplayResult::masked);
}

TEST_CASE("token: by the extended protocol it goes in front of the Bind of the COMMIT") {
  with_all_cuts([](unsigned seed) {
    TokenScript script;
    script.cut(seed);
    const std::string commit =
        parse("", "COMMIT") + bind("", "") + describe('P', "") + execute() + sync();
    script.written().client(commit);
    script.to_server("P:=COMMIT " + own(insert_1) + " B: D:P E S");
    const std::string token = message('1') + message('2') + complete("INSERT 0 1") + message('3');
    SUBCASE("answered") {
      script.server(message('1') + token + message('2') + message('n') + complete("COMMIT") +
                    ready('I'));
      script.to_client("1 2 n C:COMMIT Z:I").expect(Next::release);
      CHECK(script.notes.empty());
    }
    SUBCASE("lost, and committed") {
      script.server(message('1') + token + message('2')).lose_backend().to_client("");
      script.grant_fresh().to_server(question_1).server(outcome("committed"));
      script.to_client("1 2 n C:COMMIT Z:I");
      script.check_verdict(TokenVerdict::committed, ReplayResult::masked);
    }
    SUBCASE("refused") {
      script.server(message('1') + error("42501")).go_on().grant_fresh();
      script.server(begun() + complete("INSERT 0 1") + ready('T')).go_on();
      script.to_server("P:=begin B: E Q:insert into t values (1) P:=COMMIT B: D:P E S");
      script.server(message('1') + message('2') + message('n') + complete("COMMIT") + ready('I'));
      script.to_client("1 2 n C:COMMIT Z:I");
    }
  });
}

TEST_CASE("token: an answer that cannot be made up is told to be missing") {
  TokenScript script;
  script.written().client(parse("c", "COMMIT") + bind("", "c") + describe('S', "c") + execute() +
                          sync());
  script.lose_backend().grant_fresh().server(outcome("committed")).to_client("E:08007 Z:I");
  CHECK(script.raw_to_client().find("was committed") != std::string::npos);
  script.check_verdict(TokenVerdict::committed, ReplayResult::in_doubt);
}

TEST_CASE("token: settings of the transaction hold if that has committed, and else not") {
  TokenScript script;
  script.client(query("begin")).client(query("set work_mem = '1MB'")).grant_fresh();
  script.server(begun() + complete("SET") + ready('T'));
  script.client(query("insert into t values (1)")).server(complete("INSERT 0 1") + ready('T'));
  script.client(query("commit")).lose_backend().grant_fresh();
  script.server(outcome("committed")).expect(Next::release).go_on();
  const std::string* value = script.session().wanted_settings()->find("work_mem");
  REQUIRE(value != nullptr);
  CHECK(*value == "'1MB'");
}

TEST_CASE("token: nothing is sent behind a COMMIT that has one") {
  TokenScript script;
  script.written().client(query("commit") + query("select 1"));
  script.to_server("Q:" + std::string(insert_1) + "\n;commit");
  script.server(complete("INSERT 0 1") + complete("COMMIT") + ready('I')).to_client("C:COMMIT Z:I");
}

}  // namespace dwspool::testing
