// Level `token`, outside of a transaction: a row goes behind a write, in the same text.
#include "dwspool/retry/commit_token.h"

#include "replay_script.h"

namespace dwspool::testing {
namespace {

using retry::Failure;
using retry::Refusal;
using retry::ReplayResult;
using retry::TokenVerdict;
using session::Next;

std::string text_with(std::string_view text, int number) {
  return "Q:" + std::string(text) + "\n;INSERT INTO dwspool.commit_token (token) VALUES ('p/3600/" +
         std::to_string(number) + "')";
}
const std::string question = "Q:SELECT dwspool.outcome('p/3600/1')";

std::string outcome(std::string_view word) {
  return message('T') + row(word) + complete("SELECT 1") + ready('I');
}

class AloneScript : public ReplayScript {
 public:
  AloneScript() : ReplayScript(replay_options(ReplayLevel::token)) {
    replay().tokens.prefix = "p";
    replay().tokens.note_available();
  }
  AloneScript& sent(const std::string& text = "insert into t values (1)") {
    client(query(text)).grant_fresh().to_server(text_with(text, 1));
    return *this;
  }
  AloneScript& asked() {
    silent().grant_fresh().to_server(question);
    return *this;
  }
};

}  // namespace

TEST_CASE(
    "token: goes behind a write outside of a transaction, and the client sees nothing of it") {
  with_all_cuts([](unsigned seed) {
    AloneScript script;
    script.cut(seed);
    script.sent("insert into t values (1) returning a -- all");
    script.server(message('T') + row("1") + complete("INSERT 0 1") + complete("INSERT 0 1") +
                  ready('I'));
    script.to_client("T D C:INSERT 0 1 Z:I").expect(Next::release);
    CHECK(script.queries == 1);
    CHECK(script.transactions == 1);
    CHECK(script.notes.empty());
  });
}

TEST_CASE("token: only with a single statement that writes") {
  for (const char* text :
       {"select 1", "insert into t values (1); insert into t values (2)", "vacuum t",
        "create table t ()", "with a as (delete from t returning *) select * from a",
        "insert /*+ noreplay */ into t values (1)", "insert into t select nextval('s')",
        "insert into t select dblink('', '')", "insert into t values (((", "truncate t"}) {
    CAPTURE(text);
    AloneScript script;
    script.client(query(text)).grant_fresh().to_server("Q:" + std::string(text));
  }
}

TEST_CASE("token: an error of the write is the client's") {
  AloneScript script;
  script.sent().server(error("23505") + ready('I')).to_client("E:23505 Z:I").expect(Next::release);
  CHECK(script.notes.empty());
}

TEST_CASE("token: a write whose answer is lost is asked for") {
  AloneScript script;
  script.sent().lose_backend();
  script.asked();
  SUBCASE("aborted: it is run again, with another token") {
    script.server(outcome("aborted")).expect(Next::release).to_client("").go_on().grant_fresh();
    script.to_server(text_with("insert into t values (1)", 2));
    script.server(complete("INSERT 0 1") + complete("INSERT 0 1") + ready('I'));
    script.to_client("C:INSERT 0 1 Z:I");
    script.check_verdict(TokenVerdict::aborted, ReplayResult::masked);
  }
  SUBCASE("committed: nobody knows how many rows") {
    script.server(outcome("committed")).go_on().to_client("E:08007 Z:I");
    CHECK(script.raw_to_client().find("Outcome: committed") != std::string::npos);
    CHECK(script.raw_to_client().find("Do not run it again.") != std::string::npos);
    script.check_verdict(TokenVerdict::committed, ReplayResult::in_doubt);
  }
}

TEST_CASE("token: a write that was answered but for its end is complete if it was committed") {
  AloneScript script;
  script.sent().server(complete("INSERT 0 3")).silent().lose_backend();
  script.asked();
  SUBCASE("committed") {
    script.server(outcome("committed")).to_client("C:INSERT 0 3 Z:I");
    script.check_verdict(TokenVerdict::committed, ReplayResult::masked);
    CHECK(script.queries == 1);
    CHECK(script.errors == 0);
  }
  SUBCASE("aborted") {
    script.server(outcome("aborted")).go_on().grant_fresh();
    script.to_client("").to_server(text_with("insert into t values (1)", 2));
  }
}

TEST_CASE("token: when the row cannot be written, the write is run again without") {
  AloneScript script;
  script.sent().server(complete("INSERT 0 1") + error("42P01")).to_client("");
  script.expect(Next::release).go_on().grant_fresh().to_server("Q:insert into t values (1)");
  script.server(complete("INSERT 0 1") + ready('I')).to_client("C:INSERT 0 1 Z:I");
  script.check_note(Failure::transaction_lost, ReplayResult::masked);
}

TEST_CASE("token: when it is their commit that fails on DWS, it is asked for") {
  AloneScript script;
  script.sent().server(complete("INSERT 0 1") + error("08000", "failed to send COMMIT") +
                       ready('I'));
  script.to_client("").expect(Next::release).go_on().grant_fresh().to_server(question);
  script.server(outcome("committed")).go_on().to_client("C:INSERT 0 1 Z:I");
  script.check_verdict(TokenVerdict::committed, ReplayResult::masked);
}

TEST_CASE("token: what a coordinator refuses to run is not asked for") {
  AloneScript script;
  script.sent().server(pooler_error() + ready('I')).to_client("").expect(Next::release);
  script.wait(100ms).grant_fresh().to_server(text_with("insert into t values (1)", 2));
  script.server(complete("INSERT 0 1") + complete("INSERT 0 1") + ready('I'));
  script.to_client("C:INSERT 0 1 Z:I");
  script.check_note(Failure::refused, ReplayResult::masked);
}

TEST_CASE("token: whether there is a place for the row is asked before the first write") {
  AloneScript script;
  script.replay().tokens = retry::TokenSource{};
  script.replay().tokens.prefix = "p";
  script.client(query("insert into t values (1)")).grant_fresh();
  script.to_server("P:dwspool_token=" + retry::token_question() +
                   " B:dwspool_token E C:Sdwspool_token H");
  script.server(message('1') + message('2') + row("1") + complete("SELECT 1") + message('3'));
  script.go_on().to_server(text_with("insert into t values (1)", 1)).to_client("");
  script.server(complete("INSERT 0 1") + complete("INSERT 0 1") + ready('I'));
  script.to_client("C:INSERT 0 1 Z:I").expect(Next::release);
}

}  // namespace dwspool::testing
