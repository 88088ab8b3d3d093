// Every complaint that load_text can make, by the line and key that it names.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support.h"

namespace dwspool::config::testing {
namespace {

struct Row {
  std::string text;
  std::string complaints;  // one per line, without the file's name
};

void check_all(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(complaints_about(row.text) == row.complaints);
  }
}

TEST_CASE("a complaint names file, line and key") {
  CHECK(Complaint{"a.yaml", 12, "b.c", "no"}.text() == "a.yaml:12: b.c: no");
  CHECK(Complaint{"a.yaml", 0, "b.c", "no"}.text() == "a.yaml: b.c: no");
  CHECK(Complaint{"a.yaml", 0, "", "no"}.text() == "a.yaml: no");
}

TEST_CASE("nothing wrong, no complaint") {
  CHECK(complaints_about(Parts{}.text()).empty());
}

TEST_CASE("files that are no configuration") {
  check_all({
      {"", " the file is empty"},
      {"# only a comment\n", " the file is empty"},
      {"- a\n- b\n", "1: expected keys with values, found a list"},
      {"\nword\n", "2: expected keys with values, found a text"},
      {"a: b: c\n", "1: not valid YAML: illegal map value"},
      {"log: x\n" + Parts{}.text(), "1: log: expected keys with values, found a text"},
  });
}

TEST_CASE("keys") {
  check_all({
      {with_cluster("{coordinators: [\"cn1\"], dialekt: dws}"),
       "1: clusters.main.dialekt: unknown key; did you mean 'dialect'?"},
      {with("log:\n  levle: info\n"), "5: log.levle: unknown key; did you mean 'level'?"},
      {with("worker: 1\n"), "4: worker: unknown key; did you mean 'workers'?"},
      {with("quite_different: 1\n"), "4: quite_different: unknown key"},
      {with("\"two words\\n\": 1\n"), "4: \"two words\\x0a\": unknown key"},
      {with("workers: 1\nworkers: 2\n"), "5: workers: written twice, first in line 4"},
      {with("log: {level: info, level: info}\n"), "4: log.level: written twice, first in line 4"},
      {with("listen: [{host: a, prot: 1}]\n"),
       "4: listen[0].prot: unknown key; did you mean 'port'?"},
      {with("tcp_keepalive: {idel: 1s}\n"),
       "4: tcp_keepalive.idel: unknown key; did you mean 'idle'?"},
      {with("http: {port: 1, hots: x}\n"), "4: http.hots: unknown key; did you mean 'host'?"},
      {with("defaults: {poolsize: 1}\n"),
       "4: defaults.poolsize: unknown key; did you mean 'pool_size'?"},
      {with_database("{dbname: x}"), "2: databases.app.dbname: unknown key"},
      {with_user("{pasword: s3cret}"),
       "3: users.bob.pasword: unknown key; did you mean 'password'?"},
  });
}

TEST_CASE("types and ranges") {
  const std::string no_function =
      "expected a function's name without its schema and without quotes: 4 to 63 letters, digits, "
      "_ or $, a letter first\n";
  check_all({
      {with("workers: 0\n"), "4: workers: expected a whole number from 1 to 64, found '0'"},
      {with("workers: 65\n"), "4: workers: expected a whole number from 1 to 64, found '65'"},
      {with("workers: two\n"), "4: workers: expected a whole number from 1 to 64, found 'two'"},
      {with("workers: -1\n"), "4: workers: expected a whole number from 1 to 64, found '-1'"},
      {with("workers: 1.0\n"), "4: workers: expected a whole number from 1 to 64, found '1.0'"},
      {with("workers: 99999999999999999999\n"),
       "4: workers: expected a whole number from 1 to 64, found '99999999999999999999'"},
      {with("workers: [1]\n"), "4: workers: expected a whole number, found a list"},
      {with("workers:\n"), "4: workers: expected a whole number, found nothing"},
      {with("workers: ${DWSPOOL_TEST:-many}\n"),
       "4: workers: expected a whole number from 1 to 64, found '${DWSPOOL_TEST:-many}' (as "
       "written, before expansion)"},
      {with("max_client_conn: 0\n"),
       "4: max_client_conn: expected a whole number from 1 to 1000000, found '0'"},
      {with("client_login_timeout: 60\n"),
       "4: client_login_timeout: the unit is missing: write ms, s, min, h or d behind the number, "
       "found '60'"},
      {with("client_login_timeout: 0\n"),
       "4: client_login_timeout: expected a duration from 1ms to 1d, found '0'"},
      {with("shutdown_timeout: 2d\n"),
       "4: shutdown_timeout: expected a duration from 1ms to 1d, found '2d'"},
      {with("handover_time: 2d\n"),
       "4: handover_time: expected a duration from 1ms to 1d, or 0, found '2d'"},
      {with("listen: [{host: a, proxy_protocol: [lb.example, 10.0.0.1/8]}]\n"),
       "4: listen[0].proxy_protocol[0]: 'lb.example' is no IPv4 or IPv6 address; host names are "
       "not "
       "looked up here\n"
       "4: listen[0].proxy_protocol[1]: the address has bits behind its prefix of 8; write the "
       "network's own address"},
      {with("listen: [{unix_dir: /run, proxy_protocol: [10.0.0.1]}]\n"),
       "4: listen[0].proxy_protocol: belongs to 'host'; a Unix socket's clients have no address"},
      {with("shutdown_timeout: soon\n"),
       "4: shutdown_timeout: expected a duration such as 100ms, 30s, 10min, 1h or 1d, found "
       "'soon'"},
      {with("shutdown_timeout: {a: b}\n"),
       "4: shutdown_timeout: expected a duration, found a mapping"},
      {with("tcp_keepalive: {idle: 0, interval: 1500ms, count: 128}\n"),
       "4: tcp_keepalive.idle: expected a duration from 1s to 32767s, found '0'\n"
       "4: tcp_keepalive.interval: the system counts this in whole seconds\n"
       "4: tcp_keepalive.count: expected a whole number from 1 to 127, found '128'"},
      {with("log: {level: warn, format: xml, file: [a]}\n"),
       "4: log.level: expected debug, info, warning or error, found 'warn'\n"
       "4: log.format: expected text or json, found 'xml'\n"
       "4: log.file: expected the name of a file, found a list"},
      {with("log: {level: [info]}\n"),
       "4: log.level: expected debug, info, warning or error, found a list"},
      {with("auth_method: scram\n"),
       "4: auth_method: expected trust, password, md5 or scram-sha-256, found 'scram'"},
      {with("defaults: {pool_mode: query}\n"),
       "4: defaults.pool_mode: expected session, transaction, statement or auto, found 'query'"},
      {with("defaults: {pin_on: my_function}\n"),
       "4: defaults.pin_on: expected a list, found a text"},
      {with("defaults: {pin_on: [fine_name, abc, a.b_c, [x], ab c]}\n"),
       "4: defaults.pin_on[1]: " + no_function + "4: defaults.pin_on[2]: " + no_function +
           "4: defaults.pin_on[3]: expected the name of a function, found a list\n"
           "4: defaults.pin_on[4]: " +
           no_function.substr(0, no_function.size() - 1)},
      {with("defaults: {defer_begin: yes}\n"),
       "4: defaults.defer_begin: expected false or true, found 'yes'"},
      {with("defaults: {pool_size: 0, max_prepared_statements: 100001}\n"),
       "4: defaults.pool_size: expected a whole number from 1 to 10000, found '0'\n"
       "4: defaults.max_prepared_statements: expected a whole number from 0 to 100000, found "
       "'100001'"},
      {with("defaults: {server_lifetime: 31d, server_idle_timeout: 1}\n"),
       "4: defaults.server_idle_timeout: the unit is missing: write ms, s, min, h or d behind the "
       "number, found '1'\n"
       "4: defaults.server_lifetime: expected a duration from 1ms to 30d, or 0, found '31d'"},
  });
}

TEST_CASE("variables") {
  const Variable unset("DWSPOOL_TEST_UNSET", std::nullopt);
  const std::string not_set =
      "the environment variable DWSPOOL_TEST_UNSET is not set; set it, or write a default: "
      "${DWSPOOL_TEST_UNSET:-...}";
  check_all({
      {with("workers: ${DWSPOOL_TEST_UNSET}\n"), "4: workers: " + not_set},
      {with_cluster("{coordinators: [\"${DWSPOOL_TEST_UNSET}:1\"]}"),
       "1: clusters.main.coordinators[0]: " + not_set},
      {with_user("{password: \"s3cret${DWSPOOL_TEST_UNSET}\"}"),
       "3: users.bob.password: " + not_set},
      {with_user("{password: \"s3cret${\"}"),
       "3: users.bob.password: '${' without its '}'; write '$${' for the two characters "
       "themselves"},
  });
}

TEST_CASE("listeners") {
  check_all({
      {with("listen: \"*:6432\"\n"), "4: listen: expected a list, found a text"},
      {with("listen: []\n"), "4: listen: the list is empty; leave the key out for 127.0.0.1:6432"},
      {with("listen:\n  - [a]\n"), "5: listen[0]: expected host:port or a mapping, found a list"},
      {with("listen:\n  -\n  -\n"),
       "5: listen[0]: expected host:port or a mapping, found nothing\n"
       "6: listen[1]: expected host:port or a mapping, found nothing"},
      {with("listen: [\"a:b\"]\n"),
       "4: listen[0]: expected host:port, [IPv6 address]:port or /directory:port; a port is a "
       "number from 1 to 65535"},
      {with("listen: [\"::1:6432\"]\n"),
       "4: listen[0]: expected host:port, [IPv6 address]:port or /directory:port; an IPv6 address "
       "stands in brackets"},
      {with("listen:\n  - {port: 1}\n"),
       "5: listen[0]: needs 'host' (TCP) or 'unix_dir' (Unix socket)"},
      {with("listen: [{host: a, unix_dir: /a}]\n"),
       "4: listen[0]: has both 'host' and 'unix_dir'; write an entry for each"},
      {with("listen: [{host: a, mode: 0700}]\n"),
       "4: listen[0].mode: belongs to 'unix_dir'; a TCP port has no file mode"},
      {with("listen: [{unix_dir: /a, mode: 770}]\n"),
       "4: listen[0].mode: expected a file mode in octal from 0000 to 0777"},
      {with("listen: [{unix_dir: /a, mode: 01777}]\n"),
       "4: listen[0].mode: expected a file mode in octal from 0000 to 0777"},
      {with("listen: [{unix_dir: /a, mode: 0888}]\n"),
       "4: listen[0].mode: expected a file mode in octal from 0000 to 0777"},
      {with("listen: [{unix_dir: a}]\n"),
       "4: listen[0].unix_dir: a socket's directory begins with '/'"},
      {with("listen: [{host: \"a b\"}]\n"),
       "4: listen[0].host: a host name is ASCII, without blanks and without , [ ] / @"},
      {with("listen: [{host: a, port: 65536, backlog: 0}]\n"),
       "4: listen[0].port: expected a whole number from 0 to 65535, found '65536'\n"
       "4: listen[0].backlog: expected a whole number from 1 to 65535, found '0'"},
      {with("listen: [\"/a:0\"]\n"),
       "4: listen[0]: a Unix socket needs a port other than 0 for its name"},
      {with("listen:\n  - \"a:1\"\n  - {host: a, port: 1}\n"),
       "6: listen[1]: an earlier entry listens at 'a:1' already"},
      {with("listen: [\"*:1\", \"[::1]:1\"]\n"),
       "4: listen[1]: an earlier entry listens at '*:1' already"},
      {with("listen: [\"/a:1\", \"/a:1\"]\n"),
       "4: listen[1]: an earlier entry listens at '/a:1' already"},
      {with("listen: [\"a:1\", \"b:1\", \"a:2\", \"/a:1\", \"/b:1\", \"a:0\", \"a:0\"]\n"), ""},
  });
}

TEST_CASE("http") {
  check_all({
      {with("http: localhost\n"),
       "4: http: the port is missing; 9187 is what exporters for PostgreSQL use"},
      {with("http: \"/run:9187\"\n"), "4: http: expected host:port; it cannot be a Unix socket"},
      {with("http: 9187\n"),
       "4: http: the port is missing; 9187 is what exporters for PostgreSQL use"},
      {with("http: [a]\n"), "4: http: expected host:port or a mapping, found a list"},
      {with("http: {host: a}\n"), "4: http: needs a 'port'"},
      {with("http: {port: 0}\n"),
       "4: http.port: expected a whole number from 1 to 65535, found '0'"},
      {with("http: {host: \"\", port: 1}\n"), "4: http.host: the host is missing"},
      {with("http: \"127.0.0.1:6432\"\n"),
       "4: http: clients are let in at the same address and port; take another port"},
      {with("http:\n"), ""},
  });
}

TEST_CASE("clusters") {
  const std::string others = "databases: {a: {}}\nusers: {b: {password: x}}\n";
  const std::string none =
      " clusters: no cluster is named; write for example: "
      "clusters: {main: {coordinators: [\"cn1.example:8000\"]}}";
  check_all({
      {others, none},
      {others + "clusters:\n", "3:" + none.substr(0)},
      {others + "clusters: {}\n", "3:" + none},
      {others + "clusters: [a]\n", "3: clusters: expected keys with values, found a list"},
      {with_cluster("{}"),
       "1: clusters.main: has no coordinator; write for example: coordinators: [\"cn1:8000\"]"},
      {with_cluster(""),
       "1: clusters.main: has no coordinator; write for example: coordinators: [\"cn1:8000\"]"},
      {with_cluster("{coordinators: []}"),
       "1: clusters.main: has no coordinator; write for example: coordinators: [\"cn1:8000\"]"},
      {with_cluster("{coordinators: \"cn1:8000\"}"),
       "1: clusters.main.coordinators: expected a list, found a text"},
      {with_cluster("{coordinators: [cn1, {host: cn2}]}"),
       "1: clusters.main.coordinators[1].host: unknown key\n"
       "1: clusters.main.coordinators[1]: needs an 'address'"},
      {with_cluster("{coordinators: [{address: cn1, weight: 0}]}"),
       "1: clusters.main.coordinators[0].weight: expected a whole number from 1 to 1000, found "
       "'0'"},
      {with_cluster("{coordinators: [{address: cn1, priority: 1}, {address: \"cn1:8000\"}]}"),
       "1: clusters.main.coordinators[1].address: cn1:8000 stands there twice"},
      {with_cluster("{coordinators: [cn1], balance: fair}"),
       "1: clusters.main.balance: expected least_connections, round_robin, random_two or priority, "
       "found 'fair'"},
      {with_cluster("{coordinators: [cn1], discovery: {}}"),
       "1: clusters.main.discovery: needs 'probe' with a user: it asks for pgxc_node, and what is "
       "found is probed"},
      {with_cluster("{coordinators: [cn1], discovery: {address_map: [{from: a}]}}"),
       "1: clusters.main.discovery.address_map[0]: needs 'from', the address in pgxc_node, and "
       "'to', where it is reached"},
      {with_cluster("{coordinators: [cn1], probe: {user: a}}"),
       "1: clusters.main.probe: has a 'user', but no 'database' that it connects to"},
      {with_cluster("{coordinators: [cn1], probe: {password: s3cret}}"),
       "1: clusters.main.probe: has a password, but no 'user' that it belongs to"},
      {with_cluster("{coordinators: [cn1], probe: {interval: 50ms}}"),
       "1: clusters.main.probe.suspect_interval: is longer than 'interval'; it is meant to be "
       "shorter"},
      {with_cluster("{coordinators: [cn1], probe: {dead_after: 500ms}}"),
       "1: clusters.main.probe.dead_after: is shorter than 'timeout', the time that one answer may "
       "take"},
      {with_cluster("{coordinators: [\"cn1:8000\", cn1]}"),
       "1: clusters.main.coordinators[1]: cn1:8000 stands there twice"},
      {with_cluster("{coordinators: [\"*:8000\"]}"),
       "1: clusters.main.coordinators[0]: a coordinator has one host, and a port from 1 to 65535"},
      {with_cluster("{coordinators: [\"cn1:0\"]}"),
       "1: clusters.main.coordinators[0]: a coordinator has one host, and a port from 1 to 65535"},
      {with_cluster("{coordinators: [cn1], dialect: oracle}"),
       "1: clusters.main.dialect: expected auto, dws or postgres, found 'oracle'"},
      {with_cluster("{coordinators: [cn1], resolve_interval: 100ms}"),
       "1: clusters.main.resolve_interval: expected a duration from 1s to 1d, or 0, found '100ms'"},
      {with_cluster("{coordinators: [cn1], connect_timeout: 2h}"),
       "1: clusters.main.connect_timeout: expected a duration from 1ms to 1h, found '2h'"},
      {with_cluster("{coordinators: [cn1], max_pbkdf2_iterations: 1}"),
       "1: clusters.main.max_pbkdf2_iterations: expected a whole number from 4096 to 100000000, "
       "found '1'"},
      {with_cluster("{coordinators: [cn1], tcp_keepalive: 5s}"),
       "1: clusters.main.tcp_keepalive: expected keys with values, found a text"},
      {with_cluster("{coordinators: [cn1], password: s3cret}"),
       "1: clusters.main: has a password, but no user that it belongs to"},
      {"clusters: {\"\": {coordinators: [cn1]}}\n" + others,
       "1: clusters.\"\": a name is not empty"},
  });
}

TEST_CASE("bounds of replay") {
  const auto with_bound = [](const std::string& text) {
    return with_cluster("{coordinators: [cn1], replay: {" + text + "}}");
  };
  const std::string replay = "1: clusters.main.replay.";
  check_all({
      {with_bound("max_waiting: 0, attempt_rate: 0, max_switchovers: 0, quarantine_after: 0"), ""},
      {with_bound("max_waiting: 1000000, attempt_rate: 1, max_switchovers: 1000"), ""},
      {with_bound("max_waiting: 1000001"),
       replay + "max_waiting: expected a whole number from 0 to 1000000, found '1000001'"},
      {with_bound("attempt_rate: fast"),
       replay + "attempt_rate: expected a whole number from 0 to 1000000, found 'fast'"},
      {with_bound("max_switchovers: 1001"),
       replay + "max_switchovers: expected a whole number from 0 to 1000, found '1001'"},
      {with_bound("quarantine_after: 1.5"),
       replay + "quarantine_after: expected a whole number from 0 to 1000, found '1.5'"},
  });
}

TEST_CASE("refusals of a cluster") {
  const auto with_refusal = [](const std::string& text) {
    return with_cluster("{coordinators: [cn1], replay: {refusals: [" + text + "]}}");
  };
  const std::string code =
      "1: clusters.main.replay.refusals[0].sqlstate: expected the SQLSTATE of an error: five "
      "digits or capital letters, as \"08006\"";
  const std::string size =
      "1: clusters.main.replay.refusals[0].text: expected 8 to 200 bytes that only this error has "
      "in its message";
  const std::string commit =
      "1: clusters.main.replay.refusals[0].text: an error about a COMMIT does not say that nothing "
      "has run; take another";
  check_all({
      {with_cluster("{coordinators: [cn1], replay: {refusals: []}}"), ""},
      {with_cluster("{coordinators: [cn1], replay:}"), ""},
      {with_refusal("{sqlstate: 53200, text: no node is left}"), ""},
      {with_refusal("{sqlstate: \"8006\", text: no node is left}"), code},
      {with_refusal("{sqlstate: yy001, text: no node is left}"), code},
      {with_refusal("{sqlstate: \"00000\", text: no node is left}"), code},
      {with_refusal("{text: no node is left}"), code},
      {with_refusal("{sqlstate: YY001, text: short}"), size},
      {with_refusal("{sqlstate: YY001}"), size},
      {with_refusal("{sqlstate: YY001, text: " + std::string(201, 'x') + "}"), size},
      {with_refusal("{sqlstate: YY001, text: failed to send Commit}"), commit},
      {with_refusal("{sqlstate: YY001, text: no node is left, kind: x}"),
       "1: clusters.main.replay.refusals[0].kind: unknown key"},
      {with_refusal("cn1"),
       "1: clusters.main.replay.refusals[0]: expected keys with values, found a text"},
      {with_cluster("{coordinators: [cn1], replay: {refusals: YY001}}"),
       "1: clusters.main.replay.refusals: expected a list, found a text"},
      {with_cluster("{coordinators: [cn1], replay: {refusal: []}}"),
       "1: clusters.main.replay.refusal: unknown key; did you mean 'refusals'?"},
  });
}

TEST_CASE("databases") {
  const std::string two =
      "clusters: {main: {coordinators: [cn1]}, other: {coordinators: [cn1]}}\n"
      "users: {b: {password: x}}\n";
  const std::string none =
      "databases: no database is named; to serve every database of the cluster, write: "
      "databases: {\"*\": {}}";
  check_all({
      {"clusters: {main: {coordinators: [cn1]}}\nusers: {b: {password: x}}\n", " " + none},
      {two + "databases:\n", "3: " + none},
      {two + "databases: {}\n", "3: " + none},
      {two + "databases: {a: {}}\n",
       "3: databases.a: there are several clusters; write 'cluster:' and one of 'main', 'other'"},
      {two + "databases: {a: {cluster: mian}}\n",
       "3: databases.a.cluster: there is no cluster 'mian'; did you mean 'main'?"},
      {two + "databases: {a: {cluster: elsewhere}}\n",
       "3: databases.a.cluster: there is no cluster 'elsewhere'; the names are 'main', 'other'"},
      {two + "databases: {dwspool: {cluster: main}, pgbouncer: {cluster: main}}\n",
       "3: databases.dwspool: this name is the console's; take another one, with 'database:' for "
       "the real name\n"
       "3: databases.pgbouncer: this name is the console's; take another one, with 'database:' for "
       "the real name"},
      {"clusters: {main: {coordinators: [a], probe: {interval: 0}}}\n"
       "databases: {app: {target: read-only}}\nusers: {a: {password: a}}\n",
       "2: databases.app.target: which server is the primary is found out by probes, and the "
       "cluster has 'probe: {interval: 0}'"},
      {with_database("{password: s3cret}"),
       "2: databases.app: has a password, but no 'user' that it belongs to"},
      {with_database("[a]"), "2: databases.app: expected keys with values, found a list"},
      {with_database("{user: " + std::string(64, 'u') + "}"),
       "2: databases.app.user: a name has at most 63 bytes, this one has 64"},
      {with_database("{database: \"a\\tb\"}"),
       "2: databases.app.database: a name has no control characters"},
      {with_database("{database: {a: b}}"),
       "2: databases.app.database: expected a name, found a mapping"},
  });
}

TEST_CASE("names have 63 bytes at most") {
  const std::string longest(63, 'n');
  const std::string too_long(64, 'n');
  const std::string rest = "clusters: {c: {coordinators: [cn1]}}\nusers: {b: {password: x}}\n";
  CHECK(complaints_about(rest + "databases: {" + longest + ": {}}\n").empty());
  CHECK(complaints_about(rest + "databases: {" + too_long + ": {}}\n") ==
        "3: databases.\"" + longest + "...\": a name has at most 63 bytes, this one has 64");
}

TEST_CASE("users") {
  const std::string md5 = "md5" + std::string(32, 'a');
  const std::string rest = "clusters: {c: {coordinators: [cn1]}}\ndatabases: {\"*\": {}}\n";
  const std::string nobody =
      "users: no user is named, so nobody could log in by auth scram-sha-256; write an entry for "
      "each user, or auth_method: trust";
  check_all({
      {rest, " " + nobody},
      {rest + "users:\n", "3: " + nobody},
      {rest + "auth_method: trust\n", ""},
      {with_user("{}"),
       "3: users.bob: has no password to check by auth scram-sha-256; write 'password', "
       "'password_file' or 'auth: trust'"},
      {with_user("{auth: md5}"),
       "3: users.bob: has no password to check by auth md5; write 'password', 'password_file' or "
       "'auth: trust'"},
      {with_user("{auth: trust}"), ""},
      {with_user("{auth: peer, password: x}"),
       "3: users.bob.auth: expected trust, password, md5 or scram-sha-256, found 'peer'"},
      {with_user("{password: \"\"}"),
       "3: users.bob.password: is empty; leave the key out where no password is meant"},
      {with_user("{password: }"), "3: users.bob.password: expected a text, found nothing"},
      {with_user("{password: [s3cret]}"), "3: users.bob.password: expected a text, found a list"},
      {with_user("s3cret"), "3: users.bob: expected keys with values, found a text"},
      {with_user("{password: \"s3cret\\0\"}"),
       "3: users.bob.password: holds a zero byte, which no password has"},
      {with_user("{password: " + md5 + "}"),
       "3: users.bob.password: an md5 hash cannot be used with auth scram-sha-256; write the "
       "password itself or a SCRAM-SHA-256 verifier"},
      {with_user("{password: \"SCRAM-SHA-256$4096:oops\"}"),
       "3: users.bob.password: begins like a SCRAM-SHA-256 verifier, but is none"},
      {rest + "users: {\"*\": {}}\n",
       "3: users.*: stands for names that have no password here, so nobody could log in by auth "
       "scram-sha-256; write an entry for each user, or 'auth: trust'"},
      {rest + "users: {\"*\": {password: x}}\n",
       "3: users.*.password: one password for every name makes no sense; write an entry for each "
       "user"},
      {rest + "users: {\"*\": {auth: trust, password: x}}\n", ""},
      {rest + "users: {\"*\":}\nauth_method: trust\n", ""},
      {with_user("{password: x, backend_user: \"\"}"),
       "3: users.bob.backend_user: a name is not empty"},
      {with_user("{password: x, password_file: y}"),
       "3: users.bob.password_file: stands beside 'password'; write one of the two"},
  });
}

TEST_CASE("pools that contradict themselves") {
  const std::string small = "min_pool_size (5) is above pool_size (3)";
  const std::string reserve =
      "the reserve would never be used: reserve_pool_timeout (10s) is not below queue_timeout "
      "(10s)";
  Parts apart;
  apart.database = "{pool_size: 3}";
  apart.user = "{password: x, min_pool_size: 5}";
  Parts apart_reserve;
  apart_reserve.database = "{reserve_pool: 1, reserve_pool_timeout: 10s}";
  apart_reserve.user = "{password: x, queue_timeout: 10s}";
  check_all({
      {with("defaults: {min_pool_size: 5, pool_size: 3}\n"), "4: defaults.min_pool_size: " + small},
      {with("defaults: {min_pool_size: 21}\n"),
       "4: defaults.min_pool_size: min_pool_size (21) is above pool_size (20)"},
      {with_database("{pool_size: 3, min_pool_size: 5}"),
       "2: databases.app.min_pool_size: " + small},
      {with_user("{password: x, pool_size: 3, min_pool_size: 5}"),
       "3: users.bob.min_pool_size: " + small},
      {apart.text(), "3: users.bob.min_pool_size: " + small + " together with database 'app'"},
      {with("defaults: {reserve_pool: 1, reserve_pool_timeout: 10s, queue_timeout: 10s}\n"),
       "4: defaults.reserve_pool_timeout: " + reserve},
      {with("defaults: {reserve_pool: 1, queue_timeout: 5s}\n"),
       "4: defaults.queue_timeout: the reserve would never be used: reserve_pool_timeout (5s) is "
       "not below queue_timeout (5s)"},
      {apart_reserve.text(),
       "3: users.bob.queue_timeout: " + reserve + " together with database 'app'"},
      {with("defaults: {reserve_pool: 1, queue_timeout: 0}\n"), ""},
      {with("defaults: {queue_timeout: 1s}\n"), ""},
      {with("defaults: {reserve_pool_timeout: 0}\n"),
       "4: defaults.reserve_pool_timeout: expected a duration from 1ms to 30d, found '0'"},
  });
}

TEST_CASE("all complaints come at once, in the order of the file") {
  CHECK(complaints_about("users: {bob: {}}\n"
                         "workers: 0\n"
                         "clusters: {main: {coordinators: [cn1], dialect: x}}\n"
                         "nothing: 1\n"
                         "databases: {a: {pool_size: x}}\n") ==
        "1: users.bob: has no password to check by auth scram-sha-256; write 'password', "
        "'password_file' or 'auth: trust'\n"
        "2: workers: expected a whole number from 1 to 64, found '0'\n"
        "3: clusters.main.dialect: expected auto, dws or postgres, found 'x'\n"
        "4: nothing: unknown key\n"
        "5: databases.a.pool_size: expected a whole number from 1 to 10000, found 'x'");
}

TEST_CASE("a file of nothing but mistakes draws a bounded number of complaints") {
  std::string text = Parts{}.text();
  for (int i = 0; i < 1000; ++i) text += "key" + std::to_string(i) + ": x\n";
  const LoadResult result = load_text(text, "test.yaml");
  const auto& complaints = std::get<std::vector<Complaint>>(result);
  REQUIRE(complaints.size() == 201);
  CHECK(complaints.back().text() == "test.yaml: 800 complaints more");
  std::string many = "listen: [";
  for (int i = 0; i < 1001; ++i) many += "\"a:" + std::to_string(i) + "\", ";
  CHECK(complaints_about(with(many + "]\n")) == "4: listen: has more than 1000 entries");
}

}  // namespace
}  // namespace dwspool::config::testing
