// Settings follow the client from backend to backend.
#include "support/session_script.h"

namespace dwspool::testing {
using session::Next;

namespace {

session::SettingSet startup(std::string_view name, std::string_view value) {
  session::SettingSet settings;
  settings.set(name, value);
  return settings;
}

// One autocommit statement, from request to release.
void run(SessionScript& script, std::string_view sql, const std::string& answer) {
  script.client(query(sql)).expect(Next::need_backend);
  script.grant();
  script.server(answer + ready('I')).expect(Next::release);
  script.to_server("Q:" + std::string(sql));
}

}  // namespace

TEST_CASE("what the start-up packet asked for is made before the first statement") {
  SessionScript script(PoolMode::automatic, startup("timezone", "'PRC'"));
  session::Output out;
  CHECK(script.session().start(out) == Next::need_backend);
  script.grant().expect(Next::need_input).to_server("Q:SET \"timezone\" TO 'PRC'").to_client("");
  script.server(complete("SET") + parameter("TimeZone", "PRC") + ready('I'));
  script.expect(Next::release)
      .to_client(
          "S:server_version=15.20 S:client_encoding=UTF8 S:TimeZone=PRC "
          "S:standard_conforming_strings=on K Z:I");
  // The same backend suits at once; another one is brought in line, unseen by the client.
  script.client(query("select 1")).grant().to_server("Q:select 1");
  script.server(complete("SELECT 1") + ready('I')).to_client("C:SELECT 1 Z:I");
  session::Backend other = script.make_backend();
  script.client(query("select 2")).grant(other);
  script.to_server("Q:SET \"timezone\" TO 'PRC'");
  script.server(complete("SET") + parameter("TimeZone", "PRC") + ready('I'));
  script.to_client("").expect(Next::need_input);
  script.client("");
}

TEST_CASE("a second client with the same start-up settings is welcomed without a backend") {
  SessionScript script;
  script.logged_in();
  session::SettingSet none;
  session::Output out;
  CHECK(script.welcome().size() == 1);
}

TEST_CASE("a start-up setting that the server refuses ends the log-in with its words") {
  SessionScript script(PoolMode::automatic, startup("nonsense", "'1'"));
  session::Output out;
  script.session().start(out);
  script.grant();
  script.server(error("42704", "unrecognized configuration parameter \"nonsense\"") + ready('I'));
  script.expect(Next::close).to_client("E:42704");
  CHECK(script.session().part() == &script.backend());
  CHECK(script.backend().dirty);
}

TEST_CASE("a reported setting is carried as the server reports it") {
  SessionScript script;
  script.logged_in();
  run(script, "set timezone to 'Asia/Shanghai'",
      complete("SET") + parameter("TimeZone", "Asia/Shanghai"));
  script.to_client("C:SET S:TimeZone=Asia/Shanghai Z:I");
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other);
  script.to_server("Q:SET \"timezone\" TO 'Asia/Shanghai'").to_client("");
}

TEST_CASE("an unreported setting is carried in the client's words") {
  SessionScript script;
  script.logged_in();
  run(script, "SET search_path = \"My Schema\", public", complete("SET"));
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other);
  script.to_server("Q:SET \"search_path\" TO \"My Schema\", public");
}

TEST_CASE("RESET takes a carried setting back") {
  SessionScript script;
  script.logged_in();
  run(script, "set work_mem to '64MB'", complete("SET"));
  run(script, "reset work_mem", complete("RESET"));
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other).to_server("Q:select 1");
}

TEST_CASE("RESET goes back to the start-up packet, not behind it") {
  SessionScript script(PoolMode::automatic, startup("work_mem", "'1MB'"));
  script.logged_in();
  run(script, "set work_mem to '64MB'", complete("SET"));
  script.client(query("reset work_mem")).to_client("C:SET Z:I").grant();
  script.to_server("Q:SET \"work_mem\" TO '1MB'");
  script.server(complete("SET") + ready('I')).to_client("C:RESET Z:I").expect(Next::release);
  script.client(query("set work_mem to default")).grant();
  script.to_server("Q:SET \"work_mem\" TO '1MB'");
  script.server(complete("SET") + ready('I')).to_client("C:SET Z:I").expect(Next::release);
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other).to_server("Q:SET \"work_mem\" TO '1MB'");
}

TEST_CASE("RESET ALL is one command to the client, and keeps the start-up packet's") {
  SessionScript script(PoolMode::automatic, startup("work_mem", "'1MB'"));
  script.logged_in();
  run(script, "set jit to off", complete("SET"));
  script.client(query("reset all")).to_client("C:SET Z:I").grant();
  script.to_server("Q:RESET ALL;SET \"work_mem\" TO '1MB'");
  script.server(complete("RESET") + complete("SET") + ready('I'));
  script.to_client("C:RESET Z:I").expect(Next::release);
  script.client(query("select 1")).grant().to_server("Q:select 1");
}

TEST_CASE("a SET that is rolled back never happened") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin")).client(query("set work_mem to '64MB'")).grant();
  script.server(message('1') + message('2') + complete("BEGIN") + complete("SET") + ready('T'));
  script.client(query("rollback"));
  script.server(complete("ROLLBACK") + ready('I')).expect(Next::release);
  script.to_server("P:=begin B: E Q:set work_mem to '64MB' Q:rollback");
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other).to_server("Q:select 1");
}

TEST_CASE("a SET that is committed holds, and one that failed does not") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin")).client(query("set work_mem to '64MB'")).grant();
  script.server(message('1') + message('2') + complete("BEGIN") + complete("SET") + ready('T'));
  script.client(query("commit"));
  script.server(complete("COMMIT") + ready('I')).expect(Next::release);
  script.client(query("set jit to bogus")).grant();
  script.server(error("22023") + ready('I')).expect(Next::release);
  script.to_server("P:=begin B: E Q:set work_mem to '64MB' Q:commit Q:set jit to bogus");
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other);
  script.to_server("Q:SET \"work_mem\" TO '64MB'");
}

TEST_CASE("a COMMIT that fails carries nothing") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin")).client(query("set work_mem to '64MB'")).grant();
  script.server(message('1') + message('2') + complete("BEGIN") + complete("SET") + ready('T'));
  script.client(query("commit"));
  script.server(error("40001") + ready('I')).expect(Next::release);
  script.to_server("P:=begin B: E Q:set work_mem to '64MB' Q:commit");
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other).to_server("Q:select 1");
}

TEST_CASE("a temporary table cannot be cleaned away on DWS: in session mode it is noted as well") {
  SessionScript script(PoolMode::session);
  script.logged_in();
  session::Backend backend = script.make_backend();
  backend.dialect = Dialect::dws;
  script.client(query("create temp table t(i int)")).grant(backend);
  script.server(complete("CREATE TABLE") + ready('I'));
  CHECK(script.session().part()->holds_temporary_objects);
}

TEST_CASE("COMMIT of a failed transaction carries nothing") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin")).client(query("set work_mem to '64MB'")).grant();
  script.server(message('1') + message('2') + complete("BEGIN") + complete("SET") + ready('T'));
  script.client(query("select 1/0")).server(error("22012") + ready('E'));
  script.client(query("commit")).server(complete("ROLLBACK") + ready('I'));
  script.expect(Next::release);
  session::Backend other = script.make_backend();
  script.to_server("P:=begin B: E Q:set work_mem to '64MB' Q:select 1/0 Q:commit");
  script.client(query("select 1")).grant(other).to_server("Q:select 1");
}

TEST_CASE("SET LOCAL ends with its transaction") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin; set local timezone to 'PRC'")).grant();
  script.server(complete("BEGIN") + complete("SET") + parameter("TimeZone", "PRC") + ready('T'));
  script.client(query("commit"));
  script.server(complete("COMMIT") + parameter("TimeZone", "UTC") + ready('I'));
  script.expect(Next::release);
  CHECK(script.session().wanted_settings()->empty());
}

TEST_CASE("backends that differ in what they are: the client is told") {
  SessionScript script;
  script.logged_in();
  session::Backend newer = script.make_backend();
  session::ReportedSet reported = *newer.reported;
  reported.set("server_version", "15.21");
  newer.reported = std::make_shared<const session::ReportedSet>(reported);
  script.client(query("select 1")).grant(newer);
  script.to_client("S:server_version=15.21").to_server("Q:select 1");
}

TEST_CASE("set_config, SET TIME ZONE, ALTER SESSION and their like are carried as settings") {
  const std::pair<const char*, const char*> ways[] = {
      {"select set_config('search_path', 'a, \"B\"', false)",
       "SET \"search_path\" TO \"a\", \"B\""},
      {"select set_config('a.b', '1', false)", "SET \"a.b\" TO '1'"},
      {"alter session set current_schema = x", "SET \"search_path\" TO x"},
      {"set schema 'x'", "SET \"search_path\" TO 'x'"},
      {"set session characteristics as transaction isolation level serializable",
       "SET \"default_transaction_isolation\" TO serializable"},
      {"set role alice", "SET ROLE alice"}};
  for (const auto& pair : ways) {
    const char* const way = pair.first;
    const char* const set = pair.second;
    CAPTURE(way);
    SessionScript simple;
    simple.logged_in();
    run(simple, way, complete("X"));
    session::Backend other = simple.make_backend();
    simple.client(query("select 1")).grant(other).to_server("Q:" + std::string(set));
    SessionScript extended;
    extended.logged_in();
    extended.client(parse("", way) + bind("", "") + execute() + sync()).grant();
    extended.server(message('1') + message('2') + complete("X") + ready('I'));
    extended.expect(Next::release).to_server("P:=" + std::string(way) + " B: E S");
    other = extended.make_backend();
    extended.client(query("select 1")).grant(other).to_server("Q:" + std::string(set));
  }
}

TEST_CASE("two settings in one set_config are carried, too, but not prepared") {
  const char* both = "select set_config('a.b', '1', false), set_config('c.d', '2', false)";
  SessionScript script;
  script.logged_in();
  run(script, both, complete("SELECT 1"));
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other);
  script.to_server("Q:SET \"a.b\" TO '1';SET \"c.d\" TO '2'");
  SessionScript extended;
  extended.logged_in();
  extended.client(parse("", both) + bind("", "") + execute() + sync()).grant();
  extended.server(message('1') + message('2') + complete("SELECT 1") + ready('I'));
  extended.expect(Next::need_input);
}

TEST_CASE("who a session acts as goes first, and comes last") {
  SessionScript script;
  script.logged_in();
  run(script, "set session authorization bob",
      complete("SET") + parameter("session_authorization", "bob"));
  run(script, "set work_mem to '1MB'", complete("SET"));
  run(script, "set role alice", complete("SET"));
  CHECK_FALSE(script.backend().dirty);
  run(script, "reset all", complete("RESET"));  // leaves both alone
  run(script, "set jit to off", complete("SET"));
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other);
  script.to_server("Q:SET \"jit\" TO off;SET SESSION AUTHORIZATION bob;SET ROLE alice");
  script.server(complete("SET") + ready('I')).go_on().to_server("Q:select 1");
  script.server(complete("SELECT 1") + ready('I')).expect(Next::release);
  run(script, "set session authorization default", complete("SET"));
  session::Backend third = script.make_backend();
  script.client(query("select 1")).grant(third).to_server("Q:SET \"jit\" TO off");
}

TEST_CASE("closing and dropping by name: the server is asked whether anything is left") {
  const auto answer = [](std::string_view columns) {
    std::string out;
    wire::MessageWriter writer(out, 'D');
    writer.u16(static_cast<std::uint16_t>(columns.size()));
    for (const char c : columns) writer.u32(1).bytes(std::string_view(&c, 1));
    writer.end();
    return message('T', "x") + out + complete("SELECT 1") + ready('I');
  };
  const auto bound = [](SessionScript& script) {
    script.logged_in();
    script.client(query("declare c cursor with hold for select 1")).grant();
    script.server(complete("DECLARE CURSOR") + ready('I')).to_client("C:DECLARE CURSOR Z:I");
    script.client(query("close c"));
    script.to_server("Q:declare c cursor with hold for select 1 Q:close c");
  };
  with_all_cuts([&](unsigned seed) {
    SessionScript script;
    bound(script);
    script.cut(seed);
    script.server(complete("CLOSE CURSOR") + ready('I'));
    script.to_client("C:CLOSE CURSOR Z:I").expect(Next::need_input);
    script.server(answer("fffff")).to_client("").expect(Next::release);
    CHECK(script.session().pins() == 0);
  });
  SessionScript dws(PoolMode::automatic, {}, Dialect::dws);
  bound(dws);
  dws.server(complete("CLOSE CURSOR") + ready('I')).server(answer("fff")).expect(Next::release);
  for (const std::string& unhelpful :
       {answer("ftfff"), answer("fff"), error("42P01") + ready('I'), ready('I')}) {
    SessionScript script;
    bound(script);
    script.server(complete("CLOSE CURSOR") + ready('I')).server(unhelpful);
    script.to_client("C:CLOSE CURSOR Z:I").expect(Next::need_input);
    CHECK(script.session().pins() != 0);
  }
  // What comes meanwhile waits for the answer, and may have another backend.
  SessionScript script;
  bound(script);
  script.server(complete("CLOSE CURSOR") + ready('I'));
  script.client(query("select 1")).expect(Next::need_input);
  script.server(answer("fffff")).expect(Next::release);
  script.go_on().expect(Next::need_backend).to_client("C:CLOSE CURSOR Z:I");
}

TEST_CASE("what makes session state that cannot be carried binds the session, in auto mode") {
  const char* binding[] = {"create temp table t(i int)",
                           "select pg_advisory_lock(1)",
                           "listen x",
                           "load 'auto_explain'",
                           "prepare p as select 1; select 1",
                           "set role x password 'y'",
                           "select nextval('s')",
                           "select set_config('a.b', 'it''s', false)",
                           "declare c cursor with hold for select 1"};
  for (const char* sql : binding) {
    CAPTURE(sql);
    SessionScript script;
    script.logged_in();
    script.client(query(sql)).grant();
    script.server(complete("X") + ready('I')).expect(Next::need_input);
    CHECK(script.session().attached());
    SessionScript plain(PoolMode::transaction);
    plain.logged_in();
    plain.client(query(sql)).grant();
    plain.server(complete("X") + ready('I')).expect(Next::release);
  }
}

TEST_CASE("what bound the session can be taken back") {
  SessionScript script;
  script.logged_in();
  script.client(query("listen x")).grant();
  script.server(complete("LISTEN") + ready('I')).expect(Next::need_input);
  script.client(query("unlisten *")).server(complete("UNLISTEN") + ready('I'));
  script.expect(Next::release);
}

TEST_CASE("what takes a binding back must have worked itself, not what came before it") {
  SessionScript script;
  script.logged_in();
  script.client(query("select pg_advisory_lock(1)")).grant();
  script.server(complete("SELECT 1") + ready('I')).expect(Next::need_input);
  script.client(query("select 1") + query("select pg_advisory_unlock_all()"));
  script.server(complete("SELECT 1") + ready('I'));
  CHECK(script.session().pins() != 0);
  script.server(error("57014") + ready('I')).expect(Next::need_input);
  CHECK(script.session().pins() != 0);
  script.client(query("select pg_advisory_unlock_all()"));
  script.server(complete("SELECT 1") + ready('I')).expect(Next::release);
}

TEST_CASE("DISCARD ALL that was not answered is forgotten with its backend") {
  SessionScript script;
  script.logged_in();
  script.client(query("discard all")).grant();
  script.server(complete("DISCARD ALL")).lose_backend();
  script.to_client("C:DISCARD ALL E:08007 Z:I");
  session::Backend other = script.make_backend();
  script.client(query("set timezone to 'PRC'")).grant(other);
  script.server(complete("SET") + parameter("TimeZone", "PRC") + ready('I'));
  script.to_client("C:SET S:TimeZone=PRC Z:I").expect(Next::release);
}

TEST_CASE("what was parsed behind DISCARD ALL outlives it") {
  SessionScript script;
  script.logged_in();
  script.client(query("discard all")).grant();
  script.client(parse("", "set timezone to 'PRC'"));
  script.server(complete("DISCARD ALL") + ready('I'));
  script.client(bind("", "") + execute() + sync());
  script.server(message('1') + message('2') + complete("SET") + parameter("TimeZone", "PRC") +
                ready('I'));
  script.expect(Next::release);
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other);
  script.to_server("Q:discard all P:=set timezone to 'PRC' B: E S Q:SET \"timezone\" TO 'PRC'");
}

TEST_CASE("DISCARD ALL frees the session, which keeps what its start-up packet asked for") {
  SessionScript script(PoolMode::automatic, startup("timezone", "'PRC'"));
  script.logged_in();
  script.client(query("create temp table t(i int)")).grant();
  script.server(complete("CREATE TABLE") + ready('I')).expect(Next::need_input);
  script.client(query("discard all"));
  script.to_client("C:CREATE TABLE Z:I").to_server("Q:create temp table t(i int) Q:discard all");
  script.server(complete("DISCARD ALL") + parameter("TimeZone", "GMT") + ready('I'));
  script.expect(Next::need_input).to_client("C:DISCARD ALL");
  script.to_server("Q:SET \"timezone\" TO 'PRC'");
  script.server(complete("SET") + parameter("TimeZone", "PRC") + ready('I'));
  // One answer, with what differs from before: here, that the zone is what was asked for.
  script.expect(Next::release).to_client("S:TimeZone=PRC Z:I");
}

TEST_CASE("a setting that cannot be restored is told, and the statement does not run") {
  SessionScript script;
  script.logged_in();
  run(script, "set search_path to a", complete("SET"));
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other);
  script.to_server("Q:SET \"search_path\" TO a");
  script.to_client("C:SET Z:I");
  script.server(error("42704") + ready('I')).expect(Next::release);
  CHECK(other.dirty);
  script.client("");
}

TEST_CASE("a server that claims a transaction after SET is not used") {
  SessionScript script(PoolMode::automatic, startup("work_mem", "'1MB'"));
  session::Output out;
  script.session().start(out);
  script.grant().server(complete("SET") + ready('T')).expect(Next::need_backend);
  CHECK(script.backend().retire);
}

TEST_CASE("values are written so that they mean the same everywhere") {
  const auto value = [](std::string_view name, std::string_view text) {
    wire::StartupMessage message{wire::protocol_3_0, {{std::string(name), std::string(text)}}};
    const session::StartupSettings settings = session::settings_of(message);
    REQUIRE(settings.error.empty());
    return settings.settings.entries().front().value;
  };
  CHECK(value("application_name", "it's") == "'it''s'");
  CHECK(value("application_name", "a\\b") == "E'a\\\\b'");
  CHECK(value("search_path", "\"$user\", public") == "\"$user\", \"public\"");
  CHECK(value("search_path", "a; drop table x") == "\"a;\", \"drop\", \"table\", \"x\"");
  CHECK(value("search_path", "") == "''");
  CHECK(value("options", "-c geqo=off") == "'off'");
}

TEST_CASE("names that cannot be settings, and unknown switches, are refused") {
  const auto problem = [](std::string_view name, std::string_view text) {
    return session::settings_of({wire::protocol_3_0, {{std::string(name), std::string(text)}}})
        .error;
  };
  CHECK_FALSE(problem("a\" TO 1; drop table x; --", "1").empty());
  CHECK_FALSE(problem("options", "-c =").empty());
  CHECK_FALSE(problem("options", "-d 5").empty());
  CHECK_FALSE(problem("1a", "x").empty());
  CHECK(problem("my.setting", "x").empty());
}

TEST_CASE("current_schema is DWS's other name of search_path") {
  SessionScript script;
  script.logged_in();
  script.client(query("set search_path to a")).grant();
  script.server(complete("SET") + ready('I')).expect(Next::release);
  script.client(query("set current_schema to b")).grant();
  script.server(complete("SET") + ready('I')).expect(Next::release);
  script.to_server("Q:set search_path to a Q:set current_schema to b");
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other).to_server("Q:SET \"search_path\" TO b");
}

}  // namespace dwspool::testing
