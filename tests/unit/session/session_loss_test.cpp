// A backend is lost: the client is told the truth, once, on a session that lives.
#include "support/session_script.h"

namespace dwspool::testing {
using session::Next;

TEST_CASE("an autocommit statement that was sent may have taken effect") {
  SessionScript script;
  script.logged_in();
  script.client(query("insert into t values (1)")).grant();
  script.lose_backend().to_client("E:08007 Z:I").expect(Next::need_input);
  script.client(query("select 1")).expect(Next::need_backend);
}

TEST_CASE("an open transaction is lost for sure, and answers 25P02 until it is ended") {
  for (const bool between : {false, true}) {
    CAPTURE(between);
    SessionScript script;
    script.logged_in();
    script.client(query("begin")).client(query("insert into t values (1)")).grant();
    if (between) {
      script.server(message('1') + message('2') + complete("BEGIN") + complete("INSERT 0 1") +
                    ready('T'));
      script.to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T");
      script.lose_backend().to_client("");
      script.client(query("insert into t values (2)")).to_client("E:08006 Z:E");
    } else {
      script.to_client("C:BEGIN Z:T").lose_backend().to_client("E:08006 Z:E");
    }
    script.client(query("select 1")).to_client("E:25P02 Z:E");
    script.client(query("rollback")).to_client("C:ROLLBACK Z:I").expect(Next::need_input);
    script.client(query("select 1")).expect(Next::need_backend);
  }
}

TEST_CASE("a BEGIN alone, in whatever words and protocol, leaves no doubt") {
  for (const std::string& begin :
       {parse("", "begin") + bind("", "") + execute() + sync(),
        parse("b", "start transaction") + bind("", "b") + describe('P', "") + execute() + sync()}) {
    SessionScript script(PoolMode::transaction);
    script.logged_in();
    script.client(parse("", "select 1") + sync()).grant();
    script.server(message('1') + ready('I')).to_client("1 Z:I");
    session::Backend other = script.make_backend();
    script.client(begin).grant(other).lose_backend().to_client("E:08006 Z:I");
    // With something behind it in the same breath it is as before: it may have run outside.
    script.client(parse("", "begin") + bind("", "") + execute() + parse("", "insert") +
                  bind("", "") + execute() + sync());
    other = script.make_backend();
    script.grant(other).lose_backend().to_client("E:08007 Z:I");
  }
}

TEST_CASE("a lost transaction ends by a prepared ROLLBACK, too, and by one that is prepared now") {
  SessionScript script;
  script.logged_in();
  script.client(parse("r", "rollback") + sync()).grant();
  script.server(message('1') + ready('I')).to_client("1 Z:I");
  const auto lose = [&] {
    session::Backend backend = script.make_backend();
    script.client(query("begin") + query("select 1")).grant(backend);
    script.lose_backend().to_client("C:BEGIN Z:T E:08006 Z:E");
  };
  lose();
  script.client(describe('S', "r") + bind("", "r") + execute() + sync());
  script.to_client("t n 2 C:ROLLBACK Z:I");
  lose();
  script.client(parse("c", "commit") + bind("", "c") + describe('P', "") + execute() + sync());
  script.to_client("1 2 n C:ROLLBACK Z:I");
  lose();
  script.client(bind("", "c") + execute() + sync()).to_client("2 C:ROLLBACK Z:I");
}

TEST_CASE("what is closed in a lost transaction, or behind its end, is closed") {
  SessionScript script;
  script.logged_in();
  script.client(parse("p", "select 1") + parse("q", "select 2") + sync()).grant();
  script.server(message('1') + message('1') + ready('I')).to_client("1 1 Z:I");
  session::Backend backend = script.make_backend();
  script.client(query("begin") + query("select 1")).grant(backend);
  script.lose_backend().to_client("C:BEGIN Z:T E:08006 Z:E");
  script.client(close('S', "q") + sync()).to_client("3 Z:E");
  script.client(parse("", "rollback") + bind("", "") + execute() + close('S', "p") + sync());
  script.to_client("1 2 C:ROLLBACK 3 Z:I");
  session::Backend other = script.make_backend();
  script.client(parse("p", "select 3") + parse("q", "select 4") + sync()).grant(other);
  script.server(message('1') + message('1') + ready('I')).to_client("1 1 Z:I");
}

TEST_CASE("a COMMIT that was skipped or chained leaves no doubt about what is open now") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin") + query("select 1")).grant();
  script.server(message('1') + message('2') + complete("BEGIN") + complete("SELECT 1"));
  script.server(ready('T'));
  SUBCASE("skipped") {
    script.client(parse("", "select 1/0") + bind("", "") + execute() + parse("", "commit") +
                  bind("", "") + execute() + sync());
    script.server(message('1') + message('2') + error("22012") + ready('E'));
  }
  SUBCASE("chained") {
    script.client(query("commit and chain"));
    script.server(complete("COMMIT") + ready('T'));
  }
  script.lose_backend();
  script.client(query("insert into t values (1)")).expect(Next::need_input);
  CHECK(script.session().client_status() == wire::TxStatus::failed);
}

TEST_CASE("a BEGIN that is held back survives the loss of a backend that never heard of it") {
  SessionScript script;
  script.logged_in();
  // It says goodbye in the same breath as it takes the settings.
  script.client(query("set search_path to a")).grant();
  script.server(complete("SET") + ready('I')).expect(Next::release);
  session::Backend other = script.make_backend();
  script.client(query("begin") + query("insert into t values (1)")).grant(other);
  script.server(complete("SET") + ready('I') + error("57P01", "goodbye", "FATAL"));
  script.to_client("C:SET Z:I C:BEGIN Z:T");
  script.expect(Next::need_input);
  CHECK(script.session().client_status() == wire::TxStatus::in_transaction);
}

TEST_CASE("a lost transaction stays lost when the next backend is lost as well") {
  SessionScript script;
  script.logged_in();
  script.client(query("set search_path to a")).grant();
  script.server(complete("SET") + ready('I')).to_client("C:SET Z:I").expect(Next::release);
  script.client(query("begin") + query("select 1"));
  script.acquire_fails("08006").to_client("C:BEGIN Z:T E:08006 Z:E");
  session::Backend other = script.make_backend();
  script.client(query("commit; select 3")).grant(other);
  // The goodbye comes in the same breath as the settings are made.
  script.server(complete("SET") + ready('I') + error("57P01", "goodbye", "FATAL"));
  CHECK(script.session().client_status() == wire::TxStatus::failed);
}

TEST_CASE("what is pipelined behind the end of a lost transaction runs") {
  SessionScript script;
  script.logged_in();
  session::Backend other = script.make_backend();
  script.client(query("begin") + query("select 1")).grant();
  script.lose_backend().to_client("C:BEGIN Z:T E:08006 Z:E");
  script.client(query("")).to_client("I Z:E");
  SUBCASE("in the extended protocol") {
    script.client(parse("", "rollback") + bind("", "") + execute() + parse("", "select 2") +
                  bind("", "") + execute() + sync());
    script.grant(other);
    script.server(message('1') + message('2') + complete("SELECT 1") + ready('I'));
    script.to_client("1 2 C:ROLLBACK 1 2 C:SELECT 1 Z:I").expect(Next::release);
  }
  SUBCASE("in one text: the COMMIT that the server had nothing for was none") {
    script.client(query("commit; select 2; commit")).grant(other);
    script.server(complete("COMMIT") + complete("SELECT 1") + complete("COMMIT") + ready('I'));
    script.to_client("C:ROLLBACK C:SELECT 1 C:COMMIT Z:I").expect(Next::release);
  }
  SUBCASE("in one text, and there is no backend for it") {
    script.client(query("commit; select 2")).acquire_fails("08006").to_client("E:08006 Z:E");
  }
}

TEST_CASE("ROLLBACK of a transaction that was lost while idle is no error") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin;select 1")).grant();
  script.server(complete("BEGIN") + complete("SELECT 1") + ready('T'));
  script.to_client("C:BEGIN C:SELECT 1 Z:T");
  script.lose_backend().client(query("rollback")).to_client("C:ROLLBACK Z:I");
}

TEST_CASE("COMMIT of a transaction that was lost while idle is an error, not a silent ROLLBACK") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin;select 1")).grant();
  script.server(complete("BEGIN") + complete("SELECT 1") + ready('T'));
  script.to_client("C:BEGIN C:SELECT 1 Z:T");
  script.lose_backend().client(query("commit")).to_client("E:08006 Z:I");
}

TEST_CASE("so is one that was sent behind the end of another transaction") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin;select 1")).grant();
  script.server(complete("BEGIN") + complete("SELECT 1") + ready('T'));
  script.client(query("commit") + query("begin") + query("insert into t values (1)") +
                query("commit"));
  script.server(complete("COMMIT") + ready('I') + complete("BEGIN") + ready('T') +
                complete("INSERT 0 1") + ready('T'));
  script.to_client("C:BEGIN C:SELECT 1 Z:T C:COMMIT Z:I C:BEGIN Z:T C:INSERT 0 1 Z:T");
  script.lose_backend().to_client("E:08007 Z:I");
}

TEST_CASE("so is one that was prepared before the transaction") {
  for (const PoolMode mode : {PoolMode::session, PoolMode::transaction, PoolMode::automatic}) {
    for (const char* name : {"", "c"}) {
      CAPTURE(static_cast<int>(mode));
      CAPTURE(name);
      SessionScript script(mode);
      script.logged_in();
      script.client(parse(name, "commit") + sync()).grant();
      script.server(message('1') + ready('I'));
      script.client(parse("b", "begin") + bind("", "b") + execute() + sync());
      if (mode != PoolMode::session) script.grant();
      script.server(message('1') + message('2') + complete("BEGIN") + ready('T'));
      script.to_client("1 Z:I 1 2 C:BEGIN Z:T");
      script.client(bind("", name) + execute() + sync()).lose_backend().to_client("E:08007 Z:I");
    }
  }
}

TEST_CASE("a COMMIT whose answer is lost is in doubt") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin")).client(query("insert into t values (1)")).grant();
  script.server(message('1') + message('2') + complete("BEGIN") + complete("INSERT 0 1") +
                ready('T'));
  script.to_client("C:BEGIN Z:T C:INSERT 0 1 Z:T");
  script.client(query("commit")).lose_backend().to_client("E:08007 Z:I");
}

TEST_CASE("CommandComplete is no acknowledgement: ReadyForQuery is") {
  SessionScript script;
  script.logged_in();
  script.client(parse("", "insert") + bind("", "") + execute() + sync()).grant();
  script.server(message('1') + message('2') + complete("INSERT 0 1"));
  script.lose_backend().to_client("1 2 C:INSERT 0 1 E:08007 Z:I");
}

TEST_CASE("every request under way gets exactly one answer") {
  SessionScript script;
  script.logged_in();
  script.client(query("select 1") + query("select 2") + query("select 3")).grant();
  script.server(complete("SELECT 1") + ready('I')).to_client("C:SELECT 1 Z:I");
  script.lose_backend().to_client("E:08007 Z:I E:08007 Z:I");
}

TEST_CASE("an error that was told already is not told twice") {
  SessionScript script;
  script.logged_in();
  script.client(query("select 1/0")).grant();
  script.server(error("22012")).lose_backend().to_client("E:22012 Z:I");
}

TEST_CASE("messages without their Sync: the error now, ReadyForQuery at the Sync") {
  SessionScript script;
  script.logged_in();
  script.client(parse("", "select 1") + bind("", "") + execute() + flush()).grant();
  script.to_server("P:=select 1 B: E H").lose_backend().to_client("E:08007");
  script.client(parse("", "select 2")).silent();
  script.client(sync()).to_client("Z:I");
}

TEST_CASE("rows that were delivered are followed by an error, whole messages always") {
  SessionScript script;
  script.logged_in();
  script.client(query("select 1")).grant();
  const std::string second = row("two");
  script.server(row("one") + second.substr(0, second.size() - 1));
  script.lose_backend().to_client("D E:08007 Z:I");
}

TEST_CASE("in the middle of a large message nothing can be told: the connection ends") {
  SessionScript script;
  script.logged_in();
  script.client(query("select big")).grant();
  const std::string wide = row(std::string(100000, 'x'));
  script.server(wide.substr(0, 50000));
  session::Output out;
  CHECK(script.session().on_backend_lost("cut", out, script.now()) == Next::close);
  CHECK(out.to_client.empty());
}

TEST_CASE("while settings are made nothing of the client's was sent: another backend will do") {
  session::SettingSet settings;
  settings.set("work_mem", "'1MB'");
  SessionScript script(PoolMode::automatic, settings);
  script.logged_in();
  session::Backend other = script.make_backend();
  script.client(query("insert into t values (1)")).grant(other);
  script.to_server("Q:SET \"work_mem\" TO '1MB'");
  script.lose_backend().expect(Next::need_backend).to_client("");
  session::Backend third = script.make_backend();
  script.grant(third).to_server("Q:SET \"work_mem\" TO '1MB'");
  script.server(complete("SET") + ready('I')).to_client("").expect(Next::need_input);
  script.client(query("select 2")).to_server("Q:insert into t values (1) Q:select 2");
}

TEST_CASE("... but not for ever") {
  session::SettingSet settings;
  settings.set("timezone", "'PRC'");
  SessionScript script(PoolMode::automatic, settings);
  script.logged_in();
  session::Backend a = script.make_backend();
  session::Backend b = script.make_backend();
  session::Backend c = script.make_backend();
  script.client(query("select 1")).grant(a).lose_backend().expect(Next::need_backend);
  script.grant(b).lose_backend().expect(Next::need_backend);
  script.grant(c).lose_backend().to_client("E:08006 Z:I").expect(Next::need_input);
}

TEST_CASE("FATAL from the server is the loss of the backend, told in our words") {
  SessionScript script;
  script.logged_in();
  script.client(query("insert into t values (1)")).grant();
  script.server(error("57P01", "terminating connection due to administrator command", "FATAL"));
  script.to_client("E:08007 Z:I");
  CHECK(script.backend().retire);
  const std::string text = script.raw_to_client();
  CHECK(text.find("terminating connection due to administrator command") != std::string::npos);
  CHECK(wire::read_error(std::string_view(text).substr(5)).message.find("terminating") ==
        std::string_view::npos);
}

TEST_CASE("in session mode the server's FATAL passes as it is, and the session ends") {
  SessionScript script(PoolMode::session);
  script.logged_in();
  script.client(query("select 1")).grant();
  script.server(error("57P01", "bye", "FATAL")).expect(Next::close).to_client("E:57P01");
}

TEST_CASE("session state that is lost ends the session: 57P01 now, the end at the next message") {
  SessionScript script;
  script.logged_in();
  script.client(query("create temp table t(i int)")).grant();
  script.server(complete("CREATE TABLE") + ready('I')).to_client("C:CREATE TABLE Z:I");
  script.lose_backend().to_client("").expect(Next::need_input);
  script.client(query("select * from t")).to_client("E:57P01 Z:I").expect(Next::need_input);
  script.client(query("select 1")).expect(Next::close).to_client("E:57P01");
}

TEST_CASE("... and in the middle of an open transaction") {
  SessionScript script(PoolMode::session);
  script.logged_in();
  script.client(query("begin;insert into t values(1)")).grant();
  script.server(complete("BEGIN") + complete("INSERT 0 1") + ready('T'));
  script.client(query("insert into t values(2)")).to_client("C:BEGIN C:INSERT 0 1 Z:T");
  script.lose_backend().to_client("E:57P01 Z:E").expect(Next::need_input);
  script.client(query("rollback")).expect(Next::close);
}

TEST_CASE("no backend to be had: the request is answered, the session lives") {
  SessionScript script;
  script.logged_in();
  script.client(query("select 1")).acquire_fails("08006").to_client("E:08006 Z:I");
  script.client(parse("", "select 1") + bind("", "") + execute() + sync());
  script.expect(Next::need_backend).acquire_fails("08006").to_client("E:08006 Z:I");
  script.client(query("select 1")).expect(Next::need_backend);
}

TEST_CASE("no backend to be had at log-in: FATAL") {
  SessionScript script;
  session::Output out;
  script.session().start(out);
  script.acquire_fails("57P03").expect(Next::close).to_client("E:57P03");
}

TEST_CASE("a cancel while waiting answers 57014") {
  SessionScript script;
  script.logged_in();
  script.client(query("select 1")).cancel_while_waiting().to_client("E:57014 Z:I");
  script.client(query("select 1")).expect(Next::need_backend);
}

TEST_CASE("draining ends an idle session at once and a busy one at its boundary") {
  SUBCASE("idle") {
    SessionScript script;
    script.logged_in().drain().expect(Next::close).to_client("E:57P01");
  }
  SUBCASE("in a transaction") {
    SessionScript script;
    script.logged_in();
    script.client(query("begin;select 1")).grant();
    script.server(complete("BEGIN") + complete("SELECT 1") + ready('T'));
    script.drain().expect(Next::need_input).to_client("C:BEGIN C:SELECT 1 Z:T");
    script.client(query("commit"));
    script.server(complete("COMMIT") + ready('I')).expect(Next::close);
    script.to_client("C:COMMIT Z:I E:57P01");
  }
  SUBCASE("waiting") {
    SessionScript script;
    script.logged_in();
    script.client(query("select 1")).drain().expect(Next::need_input).silent();
    script.grant();
    script.server(complete("SELECT 1") + ready('I')).expect(Next::close);
    script.to_client("C:SELECT 1 Z:I E:57P01");
  }
}

}  // namespace dwspool::testing
