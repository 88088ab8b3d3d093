// Sessions that go on in another process.
#include "dwspool/session/image.h"

#include "support/session_script.h"

namespace dwspool::testing {
using session::Next;
using session::SessionImage;

namespace {

const std::string use_a = bind("", "a") + execute() + sync();

void prepare(SessionScript& script, std::string_view name, std::string_view sql) {
  script.client(parse(name, sql) + sync()).grant();
  script.server(message('1') + ready('I')).expect(Next::release);
  script.to_client("1 Z:I").to_server("P:" + std::string(name) + "=" + std::string(sql) + " S");
}

SessionImage some_image() {
  SessionImage image;
  image.startup.set("application_name", "'a'");
  image.wanted.set("application_name", "'b'");
  image.wanted.set("search_path", "x, \"Y\"");
  image.told.set("TimeZone", "PRC");
  image.told.set("server_version", "15.1");
  image.dialect = Dialect::dws;
  image.read_only = true;
  image.may_commit_by_name = true;
  image.statements.push_back({"s", true, false, "select $1", std::string("\0\1\0\0\0\x17", 6)});
  image.statements.push_back({"t", false, true, "select 2", std::string("\0\0", 2)});
  image.unnamed = SessionImage::Statement{"", false, false, "select 3", std::string("\0\0", 2)};
  image.sql_statements.push_back({"p", "prepare p as select 4", "datestyle='german'"});
  return image;
}

}  // namespace

TEST_CASE("image: written and read again it is the same") {
  const SessionImage image = some_image();
  const std::string bytes = encode(image);
  const auto read = session::decode_session_image(bytes);
  REQUIRE(read);
  CHECK(encode(*read) == bytes);
  CHECK(read->startup == image.startup);
  CHECK(read->wanted == image.wanted);
  CHECK(read->told == image.told);
  CHECK(read->dialect == Dialect::dws);
  CHECK(read->read_only);
  CHECK_FALSE(read->read_only_by_startup);
  CHECK(read->may_commit_by_name);
  REQUIRE(read->statements.size() == 2);
  CHECK(read->statements[0].alone);
  CHECK(read->statements[0].types.size() == 6);
  CHECK_FALSE(read->statements[0].described);
  CHECK(read->statements[1].query == "select 2");
  CHECK_FALSE(read->statements[1].alone);
  CHECK(read->statements[1].described);
  REQUIRE(read->unnamed);
  CHECK(read->unnamed->query == "select 3");
  CHECK(read->sql_statements == image.sql_statements);
}

TEST_CASE("image: what is cut off, or goes on, is none") {
  const std::string bytes = encode(some_image());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(session::decode_session_image(std::string_view(bytes).substr(0, size)));
  }
  CHECK_FALSE(session::decode_session_image(bytes + '\0'));
}

TEST_CASE("image: settings go along") {
  SessionScript script;
  script.logged_in();
  script.client(query("set search_path to x")).grant();
  script.server(complete("SET") + ready('I')).expect(Next::release);
  script.to_server("Q:set search_path to x").to_client("C:SET Z:I");
  REQUIRE(script.move());
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other).to_server("Q:SET \"search_path\" TO x");
  script.server(complete("SET") + ready('I')).go_on().to_server("Q:select 1").to_client("");
}

TEST_CASE("image: prepared statements go along") {
  SessionScript script;
  script.logged_in();
  prepare(script, "a", "select 1");
  REQUIRE(script.move());
  session::Backend other = script.make_backend();
  script.client(use_a).grant(other).to_server("P:a=select 1 B:a E S");
  script.server(message('1') + message('2') + complete("SELECT 1") + ready('I'));
  script.expect(Next::release).to_client("2 C:SELECT 1 Z:I");
  // The name is taken, as it was before.
  script.client(parse("a", "select 2") + sync()).grant(other).to_server("P:a=select 2 S");
}

TEST_CASE("image: so does what the client was told that they return") {
  for (const bool told : {true, false}) {
    CAPTURE(told);
    SessionScript script;
    script.logged_in();
    prepare(script, "a", "select 1");
    if (told) {
      script.client(describe('S', "a") + sync()).grant();
      script.server(message('t') + message('T') + ready('I')).to_server("D:Sa S");
    }
    REQUIRE(script.move());
    script.client(use_a).grant().server(error("0A000") + ready('I'));
    script.client(use_a).grant();
    script.to_server(told ? "B:a E S B:a E S"
                          : "B:a E S C:Sa P:dwspool_1=select 1 B:dwspool_1 E S");
  }
}

TEST_CASE("image: SQL's own prepared statements go along") {
  SessionScript script;
  script.logged_in();
  script.client(query("prepare p as select 1")).grant();
  script.server(complete("PREPARE") + ready('I')).expect(Next::release);
  REQUIRE(script.move());
  CHECK(script.session().prepared_statements() == 1);
  script.client(query("execute p")).grant();
  script.to_server("Q:prepare p as select 1 Q:execute p");  // the same backend has it
  script.server(complete("SELECT 1") + ready('I')).expect(Next::release);
  script.client(query("deallocate p")).grant().server(complete("DEALLOCATE") + ready('I'));
  CHECK(script.backend().sql_statements == nullptr);
}

TEST_CASE("image: the unnamed statement goes along") {
  SessionScript script;
  script.logged_in();
  script.client(parse("", "select 1") + sync()).grant();
  script.server(message('1') + ready('I')).expect(Next::release);
  script.to_server("P:=select 1 S").to_client("1 Z:I");
  REQUIRE(script.move());
  session::Backend other = script.make_backend();
  script.client(bind("", "") + execute() + sync()).grant(other).to_server("P:=select 1 B: E S");
}

TEST_CASE("image: a prepared SET is still followed when it is executed") {
  SessionScript script;
  script.logged_in();
  prepare(script, "a", "set search_path to x");
  REQUIRE(script.move());
  script.client(use_a).grant().to_server("B:a E S");
  script.server(message('2') + complete("SET") + ready('I')).expect(Next::release);
  session::Backend other = script.make_backend();
  script.client(query("select 1")).grant(other).to_server("Q:SET \"search_path\" TO x");
}

TEST_CASE("image: a prepared DEALLOCATE still knows whose name it means") {
  SessionScript script;
  script.logged_in();
  prepare(script, "a", "select 1");
  script.client(parse("d", "deallocate a") + sync()).grant();
  script.server(message('1') + ready('I'))
      .expect(Next::release)
      .to_client("1 Z:I")
      .to_server("P:d= S");
  REQUIRE(script.move());
  // Its text here is an empty one: it is prepared anew, and drops what it named.
  script.client(bind("", "d") + execute() + sync())
      .grant()
      .to_server("P:dwspool_1= B:dwspool_1 C:Sa E S");
  script.server(message('1') + message('2') + message('3') + message('I') + ready('I'));
  script.to_client("2 C:DEALLOCATE Z:I").expect(Next::release);
  script.client(use_a).grant().to_server("B:a E S");
}

TEST_CASE("image: none while something is under way, or binds the session") {
  SessionScript script;
  CHECK_FALSE(script.session().image());  // has not logged in
  script.logged_in();
  CHECK(script.session().image());
  script.client(query("begin"));  // held back
  CHECK_FALSE(script.session().image());
  script.client(query("rollback"));
  CHECK(script.session().image());
  script.client(query("select 1"));
  CHECK_FALSE(script.session().image());  // waits
  script.grant();
  CHECK_FALSE(script.session().image());
  script.server(complete("SELECT 1") + ready('I')).expect(Next::release);
  CHECK(script.session().image());
  script.client(query("create temp table t()")).grant();
  script.server(complete("CREATE TABLE") + ready('I'));
  CHECK_FALSE(script.session().image());  // stays with its backend
}

TEST_CASE("image: none of a session that owes an error, or ends") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin")).client(query("insert into t values (1)")).grant();
  script.server(message('1') + message('2') + complete("BEGIN") + complete("INSERT 0 1") +
                ready('T'));
  script.lose_backend();
  CHECK_FALSE(script.session().image());  // its client does not know yet that it has failed
  script.client(query("rollback"));
  CHECK(script.session().image());
  script.drain();
  CHECK_FALSE(script.session().image());
}

}  // namespace dwspool::testing
