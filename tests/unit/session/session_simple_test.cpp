// The simple protocol: when a session wants a backend, and when it lets go of it.
#include "dwspool/session/cleaner.h"

#include "support/session_script.h"

namespace dwspool::testing {
using session::Next;

TEST_CASE("a log-in asks a backend for the welcome, and gives it back") {
  SessionScript script;
  session::Output out;
  CHECK(script.session().start(out) == Next::need_backend);
  script.grant()
      .expect(Next::release)
      .to_server("")
      .to_client(
          "S:server_version=15.20 S:client_encoding=UTF8 S:TimeZone=UTC "
          "S:standard_conforming_strings=on K Z:I");
  CHECK(script.session().state() == session::SessionState::idle);
}

TEST_CASE("a query takes a backend, and gives it back when the transaction is over") {
  with_all_cuts([](unsigned seed) {
    SessionScript script;
    script.cut(seed);
    script.logged_in();
    script.client(query("select 1")).expect(Next::need_backend).silent();
    script.grant().expect(Next::need_input).to_server("Q:select 1").to_client("");
    script.server(message('T', "x") + row("1") + complete("SELECT 1") + ready('I'))
        .expect(Next::release)
        .to_client("T D C:SELECT 1 Z:I");
    CHECK_FALSE(script.session().attached());
  });
}

TEST_CASE("a transaction keeps its backend until it ends") {
  with_all_cuts([](unsigned seed) {
    SessionScript script(PoolMode::transaction);
    script.cut(seed);
    script.logged_in();
    script.client(query("begin; select 1")).grant().to_server("Q:begin; select 1");
    script.server(complete("BEGIN") + row("1") + complete("SELECT 1") + ready('T'))
        .expect(Next::need_input)
        .to_client("C:BEGIN D C:SELECT 1 Z:T");
    script.client(query("commit")).expect(Next::need_input).to_server("Q:commit");
    script.server(complete("COMMIT") + ready('I')).expect(Next::release);
  });
}

TEST_CASE("in statement mode a transaction block is refused, and rolled back") {
  for (const char* text : {"begin", "begin; insert into t values (1)", "start transaction"}) {
    CAPTURE(text);
    SessionScript script(PoolMode::statement);
    script.logged_in();
    script.client(query(text)).grant().to_server("Q:" + std::string(text));
    script.server(complete("BEGIN") + ready('T')).to_client("C:BEGIN E:0A000 Z:I");
    script.expect(Next::release);
    CHECK(session::Cleaner::needed(script.backend()));
    session::Backend other = script.make_backend();
    script.client(query("select 1")).grant(other).to_server("Q:select 1");
    script.server(complete("SELECT 1") + ready('I')).expect(Next::release);
  }
}

TEST_CASE("in statement mode a failed block has one error, and what counts on it is not run") {
  SessionScript script(PoolMode::statement);
  script.logged_in();
  script.client(query("begin; select 1/0")).grant();
  script.server(complete("BEGIN") + error("22012") + ready('E'));
  script.to_client("C:BEGIN E:22012 Z:I").expect(Next::release);
  SessionScript pipeline(PoolMode::statement);
  pipeline.logged_in();
  pipeline.client(query("begin") + query("insert into t values (1)")).grant();
  pipeline.server(complete("BEGIN") + ready('T')).to_client("C:BEGIN E:0A000").expect(Next::close);
}

TEST_CASE("in session mode the backend stays") {
  SessionScript script(PoolMode::session);
  script.logged_in();
  script.client(query("select 1")).grant();
  script.server(complete("SELECT 1") + ready('I')).expect(Next::need_input);
  CHECK(script.session().attached());
  CHECK(script.session().part() == &script.backend());
  CHECK(script.backend().dirty);
}

TEST_CASE("several queries sent at once are answered before the backend goes") {
  with_all_cuts([](unsigned seed) {
    SessionScript script;
    script.cut(seed);
    script.logged_in();
    script.client(query("select 1") + query("select 2")).grant();
    script.to_server("Q:select 1 Q:select 2");
    script.server(complete("SELECT 1") + ready('I')).expect(Next::need_input);
    script.server(complete("SELECT 1") + ready('I')).expect(Next::release);
    script.to_client("C:SELECT 1 Z:I C:SELECT 1 Z:I");
  });
}

TEST_CASE("an error leaves a transaction failed and attached") {
  SessionScript script;
  script.logged_in();
  script.client(query("begin;select 1/0")).grant();
  script.server(complete("BEGIN") + error("22012") + ready('E')).expect(Next::need_input);
  script.to_client("C:BEGIN E:22012 Z:E");
  script.client(query("rollback"));
  script.server(complete("ROLLBACK") + ready('I')).expect(Next::release);
}

TEST_CASE("notices and notifications pass while attached, also ahead of any answer") {
  SessionScript script;
  script.logged_in();
  script.client(query("select 1")).grant();
  std::string notice = error("01000", "careful", "WARNING");
  notice[0] = 'N';
  script.server(notice + complete("SELECT 1") + ready('I')).to_client("N:01000 C:SELECT 1 Z:I");
}

TEST_CASE("COPY in: data flows, and the backend goes when it is over") {
  with_all_cuts([](unsigned seed) {
    SessionScript script;
    script.cut(seed);
    script.logged_in();
    script.client(query("copy t from stdin")).grant().to_server("Q:copy t from stdin");
    script.server(copy_in()).to_client("G");
    script.client(message('d', "1\n") + message('d', "2\n") + message('c'));
    script.to_server("d d c");
    script.server(complete("COPY 2") + ready('I')).expect(Next::release).to_client("C:COPY 2 Z:I");
  });
}

TEST_CASE("what is left of a COPY that the server aborted is ignored") {
  SessionScript script;
  script.logged_in();
  script.client(query("copy t from stdin")).grant();
  script.server(copy_in()).client(message('d', "rubbish\n"));
  script.server(error("22P04") + ready('I')).expect(Next::release).to_client("G E:22P04 Z:I");
  script.to_server("Q:copy t from stdin d");
  script.client(message('d', "more\n") + message('c')).expect(Next::need_input).silent();
  script.client(query("select 1")).expect(Next::need_backend).silent();
}

TEST_CASE("COPY out passes") {
  SessionScript script;
  script.logged_in();
  script.client(query("copy t to stdout")).grant();
  script.server(message('H', std::string("\0\0\1\0\0", 5)) + message('d', "1\n") + message('c') +
                complete("COPY 1") + ready('I'));
  script.expect(Next::release).to_client("H d c C:COPY 1 Z:I");
}

TEST_CASE("a function call is a request like any other") {
  SessionScript script;
  script.logged_in();
  script.client(message('F', "whatever")).expect(Next::need_backend);
  script.grant().to_server("F");
  script.server(message('V', std::string("\0\0\0\0", 4)) + ready('I')).expect(Next::release);
}

TEST_CASE("messages too large to be held are passed on in pieces") {
  SessionScript script;
  script.logged_in();
  const std::string big(100000, 'x');
  script.client(query("copy t from stdin")).grant();
  script.server(copy_in());
  const std::string data = message('d', big);
  script.to_server("Q:copy t from stdin");
  script.client(data.substr(0, 30000));
  CHECK(script.unread.empty());
  script.client(data.substr(30000) + message('c'));
  script.to_server("d c");
  script.server(complete("COPY 1") + ready('I')).to_client("G C:COPY 1 Z:I");

  script.client(query("select big")).grant();
  const std::string wide = row(big);
  std::string_view first(wide.data(), 50000);
  session::Output out;
  script.session().on_server(first, out, script.now());
  CHECK(out.to_client.size() == 50000);
}

TEST_CASE("a large query is inspected whole, a huge one streams and binds the session") {
  SessionScript script;
  script.logged_in();
  const std::string huge = query("select '" + std::string(3U << 20U, 'x') + "'");
  script.client(huge.substr(0, 1000)).expect(Next::need_backend);
  script.grant();
  CHECK(script.session().pins() != 0);
  script.client(huge.substr(1000));
  script.server(complete("SELECT 1") + ready('I')).expect(Next::need_input);
}

TEST_CASE("violations of the protocol end the connection with a reason") {
  SUBCASE("a type that does not exist") {
    SessionScript script;
    script.logged_in().client(message('?')).expect(Next::close).to_client("E:08P01");
  }
  SUBCASE("a length that cannot be") {
    SessionScript script;
    script.logged_in().client(std::string("Q\0\0\0\3x", 6)).expect(Next::close);
    script.to_client("E:08P01");
  }
  SUBCASE("a password after the log-in") {
    SessionScript script;
    script.logged_in().client(message('p', "x")).expect(Next::close).to_client("E:08P01");
  }
  SUBCASE("a Sync of a megabyte") {
    SessionScript script;
    script.logged_in().client(std::string("S\0\x10\0\0", 5)).expect(Next::close);
    script.to_client("E:08P01");
  }
}

TEST_CASE("Terminate ends the session") {
  SessionScript script;
  script.logged_in().client(terminate()).expect(Next::close).to_client("");
}

TEST_CASE("a server out of step costs the backend, and one error") {
  const auto lost = [](std::string_view bytes) {
    SessionScript script;
    script.logged_in();
    script.client(query("select 1")).grant();
    script.server(bytes).to_client("E:08007 Z:I");
    CHECK(script.backend().retire);
    CHECK_FALSE(script.session().attached());
  };
  lost(message('?'));
  lost(std::string("D\0\0\0\1", 5));
  lost(message('S', "no terminator"));
  lost(message('Z', "X"));
}

TEST_CASE("ReadyForQuery that nobody asked for costs the backend") {
  SessionScript script(PoolMode::session);
  script.logged_in();
  script.client(query("select 1")).grant();
  script.server(complete("SELECT 1") + ready('I')).to_client("C:SELECT 1 Z:I");
  script.server(ready('I'));
  CHECK(script.backend().retire);
}

}  // namespace dwspool::testing
