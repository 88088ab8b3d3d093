// "cached plan must not change result type": who hears of it, and who gets a statement prepared
// anew.
#include "replay_script.h"

namespace dwspool::testing {
using retry::Failure;
using retry::Refusal;
using retry::ReplayResult;
using session::Next;

namespace {

constexpr std::string_view text = "select * from t";
const std::string use_a = bind("", "a") + execute() + sync();
const std::string parsed = message('1');
const std::string used = message('2') + complete("SELECT 1") + ready('I');

std::string outdated(std::string_view routine = "RevalidateCachedQuery") {
  std::string out;
  wire::MessageWriter(out, 'E')
      .bytes("S")
      .cstring("ERROR")
      .bytes("V")
      .cstring("ERROR")
      .bytes("C")
      .cstring("0A000")
      .bytes("M")
      .cstring("cached plan must not change result type")
      .bytes("R")
      .cstring(routine)
      .u8(0)
      .end();
  return out;
}

// A session that is kept, at this level.
struct Kept : SessionScript {
  explicit Kept(ReplayLevel level = ReplayLevel::transaction)
      : SessionScript(PoolMode::automatic, {}, Dialect::postgres, replay_options(level)) {
    logged_in();
    queries = errors = 0;
  }

  // The backend has the statement from somebody who has gone.
  void leave_behind() {
    client(parse("a", text) + sync()).grant();
    server(parsed + ready('I')).expect(Next::release);
    client(close('S', "a") + sync()).to_client("1 Z:I 3 Z:I").to_server("P:a=select * from t S");
  }
  void prepare() {
    client(parse("a", text) + sync()).grant().to_server("P:a=select * from t S");
    server(parsed + ready('I')).expect(Next::release).to_client("1 Z:I");
  }
  void check_masked() {
    REQUIRE(notes.size() == 1);
    CHECK(notes[0].failure == Failure::outdated);
    CHECK(notes[0].result == ReplayResult::masked);
    CHECK(errors == 0);
  }
};

}  // namespace

TEST_CASE("outdated: who prepares it now does not hear of what another one has left behind") {
  Kept script;
  script.leave_behind();
  script.client(parse("a", text) + bind("", "a") + execute() + sync()).grant();
  script.to_server("B:a E S");
  script.server(outdated() + ready('I')).expect(Next::release).to_client("1").go_on();
  script.grant().to_server("P:dwspool_1=select * from t B:dwspool_1 E S");
  script.server(parsed + used).expect(Next::release).to_client("2 C:SELECT 1 Z:I");
  script.check_masked();
}

TEST_CASE("outdated: a statement that was prepared before is prepared anew and run") {
  Kept script;
  script.prepare();
  script.client(use_a).grant().to_server("B:a E S");
  script.server(outdated() + ready('I')).expect(Next::release).to_client("").go_on();
  script.grant().to_server("C:Sa P:dwspool_1=select * from t B:dwspool_1 E S");
  script.server(message('3') + parsed + used).expect(Next::release).to_client("2 C:SELECT 1 Z:I");
  script.check_masked();
  // From now on it is that one, also where nobody has prepared it yet.
  session::Backend other = script.make_backend();
  script.client(use_a).grant(other).to_server("P:a=select * from t B:a E S");
}

TEST_CASE("outdated: Describe is helped as well") {
  Kept script;
  script.leave_behind();
  script.client(parse("a", text) + describe('S', "a") + sync()).grant().to_server("D:Sa S");
  script.server(outdated() + ready('I')).expect(Next::release).to_client("1").go_on();
  script.grant().to_server("P:dwspool_1=select * from t D:Sdwspool_1 S");
  script.server(parsed + message('t') + message('T') + ready('I')).to_client("t T Z:I");
  script.check_masked();
}

TEST_CASE("outdated: in a transaction, what came before is run again, too") {
  Kept script;
  script.leave_behind();
  script.client(query("begin") + query("insert into u values (1)")).grant();
  script.server(begun() + complete("INSERT 0 1") + ready('T'));
  script.to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T");
  script.client(parse("a", text) + bind("", "a") + execute() + sync()).to_client("1");
  script.server(outdated() + ready('E')).expect(Next::release).to_client("").go_on();
  session::Backend other = script.make_backend();
  script.raw_to_server();
  script.grant(other).server(begun() + complete("INSERT 0 1") + ready('T'));
  script.server(parsed + message('2') + complete("SELECT 1") + ready('T'));
  script.to_client("2 C:SELECT 1 Z:T");
  script.check_masked();
}

TEST_CASE("outdated: two of them, one behind the other") {
  Kept script;
  script.prepare();
  script.client(parse("b", "select * from u") + sync()).grant();
  script.server(parsed + ready('I')).expect(Next::release).to_client("1 Z:I");
  script.to_server("P:b=select * from u S");
  script.client(query("begin") + bind("", "a") + execute() + bind("", "b") + execute() + sync());
  script.to_client("C:BEGIN Z:T").grant();
  script.server(begun() + message('3') + message('3') + outdated() + ready('E'));
  script.expect(Next::release).go_on().grant();
  script.server(begun() + message('3') + message('3') + message('3') + parsed + message('2') +
                complete("SELECT 1") + outdated() + ready('E'));
  script.expect(Next::release).go_on().grant();
  script.server(begun() + message('3') + message('3') + message('2') + complete("SELECT 1") +
                message('3') + parsed + message('2') + complete("SELECT 1") + ready('T'));
  script.to_client("2 C:SELECT 1 2 C:SELECT 1 Z:T");
  script.check_masked();
}

TEST_CASE("outdated: who was told what it returns hears of it, wherever, until it prepares anew") {
  Kept script;
  script.client(parse("a", text) + describe('S', "a") + sync()).grant();
  script.server(parsed + message('t') + message('T') + ready('I')).expect(Next::release);
  script.to_client("1 t T Z:I").to_server("P:a=select * from t D:Sa S");
  script.client(use_a).grant().server(outdated() + ready('I')).expect(Next::release);
  script.to_client("E:0A000 Z:I").to_server("B:a E S");
  // Another backend would prepare it without a word, and return something else.
  session::Backend other = script.make_backend();
  script.client(use_a).grant(other).to_server("B:dwspool nobody E S");
  script.server(error("26000") + ready('I')).expect(Next::release).to_client("E:0A000 Z:I");
  // Drivers go by the name of the function, and not by words that are translated.
  const std::string named("RRevalidateCachedQuery", 23);
  CHECK(script.raw_to_client().find(named) != std::string::npos);
  script.client(describe('S', "a") + sync()).grant(other).to_server("D:Sdwspool nobody S");
  script.server(error("26000") + ready('I')).to_client("E:0A000 Z:I").expect(Next::release);
  CHECK(script.notes.empty());
  script.client(close('S', "a") + sync() + parse("a", text) + bind("", "a") + execute() + sync());
  script.grant(other).to_server("P:a=select * from t B:a E S");
  script.server(parsed + used).to_client("3 Z:I 1 2 C:SELECT 1 Z:I");
}

TEST_CASE("outdated: another client's knowledge is no promise to this one") {
  Kept script;
  script.client(parse("a", text) + describe('S', "a") + close('S', "a") + sync()).grant();
  script.server(parsed + message('t') + message('T') + message('3') + ready('I'));
  script.client(parse("b", text) + sync());
  script.grant();
  script.go_on();
  CHECK(script.errors == 0);
}

TEST_CASE("outdated: nothing is run again at level off; the next use is of a new one") {
  Kept script(ReplayLevel::off);
  script.prepare();
  script.client(use_a).grant().server(outdated() + ready('I')).expect(Next::release);
  script.to_client("E:0A000 Z:I").to_server("B:a E S");
  script.client(use_a).grant().to_server("C:Sa P:dwspool_1=select * from t B:dwspool_1 E S");
  script.server(message('3') + parsed + used).to_client("2 C:SELECT 1 Z:I");
}

TEST_CASE("outdated: other errors of that code are passed on, and change nothing") {
  Kept script;
  script.prepare();
  for (int i = 0; i < 2; ++i) {
    script.client(use_a).grant().to_server("B:a E S");
    script.server(outdated("make_outerjoininfo") + ready('I')).expect(Next::release);
    script.to_client("E:0A000 Z:I");
  }
  CHECK(script.notes.empty());
}

TEST_CASE("outdated: one that stays so is passed on in the end") {
  Kept script;
  script.prepare();
  script.client(use_a).grant();
  int runs = 0;
  while (script.errors == 0 && runs < 100) {
    ++runs;
    script.server((runs > 1 ? message('3') + parsed : std::string()) + outdated() + ready('I'));
    if (script.errors == 0) script.go_on().grant();
  }
  CHECK(runs == 17);
  CHECK(script.errors == 1);
}

TEST_CASE("outdated: a bound session prepares for itself what others have left") {
  Kept script;
  script.leave_behind();
  script.client(query("listen x")).grant().server(complete("LISTEN") + ready('I'));
  script.to_client("C:LISTEN Z:I").to_server("Q:listen x");
  script.client(parse("a", text) + bind("", "a") + execute() + sync());
  script.to_server("P:dwspool_1=select * from t B:dwspool_1 E S");
}

}  // namespace dwspool::testing
