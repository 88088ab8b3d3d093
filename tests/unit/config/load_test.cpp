// What a file that is right comes to.
#include <chrono>
#include <string>

#include <doctest/doctest.h>

#include "support.h"

namespace dwspool::config::testing {
namespace {

using namespace std::chrono_literals;

TEST_CASE("the least that can be written, and the defaults") {
  const Config config = loaded(Parts{}.text(), "/etc/dwspool/dwspool.yaml");
  CHECK(config.file == "/etc/dwspool/dwspool.yaml");
  REQUIRE(config.listeners.size() == 1);
  CHECK(config.listeners[0].host == "127.0.0.1");
  CHECK(config.listeners[0].port == 6432);
  CHECK_FALSE(config.listeners[0].is_unix());
  CHECK(config.workers == 1);
  CHECK(config.max_client_conn == 1000);
  CHECK(config.client_login_timeout == 60s);
  CHECK(config.shutdown_timeout == 30s);
  CHECK(config.auth_method == AuthMethod::scram_sha_256);
  CHECK(config.http.port == 0);
  CHECK(config.log.level == LogLevel::info);
  CHECK(config.log.file.empty());
  REQUIRE(config.clusters.size() == 1);
  CHECK(config.clusters[0].name == "main");
  CHECK(config.clusters[0].dialect == Dialect::unknown);
  REQUIRE(config.databases.size() == 1);
  CHECK(config.databases[0].cluster == "main");
  CHECK(config.databases[0].backend_database.empty());
  CHECK_FALSE(config.databases[0].backend_password);
  REQUIRE(config.users.size() == 1);
  CHECK(config.users[0].secret.plain.reveal() == "secret");
  CHECK_FALSE(config.users[0].auth);
}

TEST_CASE("every key of the process") {
  const Config config = loaded(with("workers: 4\n"
                                    "max_client_conn: 5000\n"
                                    "client_login_timeout: 15s\n"
                                    "shutdown_timeout: 5min\n"
                                    "auth_method: md5\n"
                                    "tcp_keepalive: {idle: 1min, interval: 20s, count: 5}\n"
                                    "log: {level: debug, format: json, file: logs/a.log}\n"
                                    "http: {port: 9187}\n"),
                               "/etc/dwspool/a.yaml");
  CHECK(config.workers == 4);
  CHECK(config.max_client_conn == 5000);
  CHECK(config.client_login_timeout == 15s);
  CHECK(config.shutdown_timeout == 5min);
  CHECK(config.auth_method == AuthMethod::md5);
  CHECK(config.client_keepalive.idle == 1min);
  CHECK(config.client_keepalive.interval == 20s);
  CHECK(config.client_keepalive.count == 5);
  CHECK(config.log.level == LogLevel::debug);
  CHECK(config.log.format == LogFormat::json);
  CHECK(config.log.file == "/etc/dwspool/logs/a.log");
  CHECK(config.http.host == "127.0.0.1");
  CHECK(config.http.port == 9187);
  CHECK(loaded(with("http: \"*:1\"\n")).http.host == "*");
  CHECK(loaded(with("http: {host: \"::1\", port: 1}\n")).http.host == "::1");
}

TEST_CASE("listeners in both forms") {
  const Config config =
      loaded(with("listen:\n"
                  "  - \"127.0.0.1:6432\"\n"
                  "  - \"[::1]\"\n"
                  "  - \"*:7000\"\n"
                  "  - /run/dwspool:7001\n"
                  "  - {host: \"10.0.0.1\"}\n"
                  "  - {host: \"::2\", port: 7003, backlog: 5}\n"
                  "  - {unix_dir: /run/b, port: 7004, mode: 0770, backlog: 6}\n"
                  "  - {unix_dir: /run/c, mode: 0o600}\n"
                  "  - {unix_dir: /run/d, mode: \"0700\"}\n"));
  struct Row {
    std::string_view host;
    std::string_view unix_dir;
    std::uint16_t port;
    std::uint32_t mode;
    int backlog;
  };
  const Row rows[] = {
      {"127.0.0.1", "", 6432, 0777, 1024}, {"::1", "", 6432, 0777, 1024},
      {"*", "", 7000, 0777, 1024},         {"", "/run/dwspool", 7001, 0777, 1024},
      {"10.0.0.1", "", 6432, 0777, 1024},  {"::2", "", 7003, 0777, 5},
      {"", "/run/b", 7004, 0770, 6},       {"", "/run/c", 6432, 0600, 1024},
      {"", "/run/d", 6432, 0700, 1024},
  };
  REQUIRE(config.listeners.size() == std::size(rows));
  for (std::size_t i = 0; i < std::size(rows); ++i) {
    CAPTURE(i);
    const Listener& listener = config.listeners[i];
    CHECK(listener.host == rows[i].host);
    CHECK(listener.unix_dir == rows[i].unix_dir);
    CHECK(listener.port == rows[i].port);
    CHECK(listener.unix_mode == rows[i].mode);
    CHECK(listener.backlog == rows[i].backlog);
    CHECK(listener.is_unix() == !rows[i].unix_dir.empty());
  }
}

TEST_CASE("what is handed over, and who speaks for others") {
  const Config config =
      loaded(with("listen: [{host: \"10.0.0.1\", proxy_protocol: [10.0.0.0/24, \"2001:db8::1\"]}]\n"
                  "handover_time: 0\n"
                  "http: {port: 1, pgbouncer_metrics: true}\n"
                  "console: {old_columns: true}\n"));
  const std::vector<auth::Network>& proxies = config.listeners[0].proxies;
  REQUIRE(proxies.size() == 2);
  CHECK(proxies[0].includes(std::string_view("\x0a\0\0\x7f", 4)));
  CHECK(proxies[0].includes(std::string_view("\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x7f", 16)));
  CHECK_FALSE(proxies[0].includes(std::string_view("\x0a\0\1\x7f", 4)));
  CHECK_FALSE(proxies[0].includes({}));  // a Unix socket
  CHECK(proxies[1].prefix == 128);
  CHECK(config.handover_time == 0s);
  CHECK(config.http.pgbouncer_metrics);
  CHECK(config.console.old_columns);
  CHECK(Config{}.handover_time == 30s);
}

TEST_CASE("every key of a cluster") {
  const Config config = loaded(
      with_cluster("{coordinators: [cn1, \"cn2:8001\", \"[::1]:8002\", \"/run/pg:5432\", /run/pg], "
                   "dialect: dws, connect_timeout: 3s, tcp_keepalive: {idle: 7s}, "
                   "max_pbkdf2_iterations: 20000, database: db, user: pool, password: pw, "
                   "replay: {refusals: [{sqlstate: 08006, text: no nodes}, {text: nodes gone, "
                   "sqlstate: \"YY001\"}, {sqlstate: \"08006\", text: no nodes}]}}"));
  const Cluster& cluster = config.clusters[0];
  std::string labels;
  for (const Coordinator& coordinator : cluster.coordinators) labels += coordinator.label() + ' ';
  CHECK(labels == "cn1:8000 cn2:8001 [::1]:8002 /run/pg:5432 /run/pg:8000 ");
  CHECK(cluster.coordinators[2].host == "::1");
  CHECK(cluster.dialect == Dialect::dws);
  CHECK(cluster.connect_timeout == 3s);
  CHECK(cluster.keepalive.idle == 7s);
  CHECK(cluster.keepalive.interval == 2s);
  CHECK(cluster.max_pbkdf2_iterations == 20000);
  CHECK(cluster.refusals == std::vector<Refusal>{{"08006", "no nodes"}, {"YY001", "nodes gone"}});
  CHECK(cluster.database == "db");
  CHECK(cluster.user == "pool");
  CHECK(cluster.password.reveal() == "pw");
  CHECK(loaded(with_cluster("{coordinators: [a], dialect: postgres}")).clusters[0].dialect ==
        Dialect::postgres);
  CHECK(loaded(with_cluster("{coordinators: [a], dialect: auto}")).clusters[0].dialect ==
        Dialect::unknown);
}

TEST_CASE("databases and users are found by name, or by the star") {
  const Config config = loaded(
      "clusters: {one: {coordinators: [a]}, two: {coordinators: [b]}}\n"
      "databases:\n"
      "  sales: {cluster: two, database: sales_2026, user: pool, password: pw}\n"
      "  \"*\": {cluster: one}\n"
      "users:\n"
      "  bob: {password: b, backend_user: robert, backend_password: r}\n"
      "  \"*\": {auth: trust, backend_user: guest}\n");
  CHECK(config.find_cluster("two")->name == "two");
  CHECK(config.find_cluster("three") == nullptr);
  const Database* const sales = config.find_database("sales");
  CHECK(sales->cluster == "two");
  CHECK(sales->backend_database == "sales_2026");
  CHECK(sales->backend_user == "pool");
  CHECK(sales->backend_password->reveal() == "pw");
  CHECK(config.find_database("other")->name == "*");
  CHECK(config.find_user("bob")->backend_user == "robert");
  CHECK(config.find_user("bob")->backend_password->reveal() == "r");
  CHECK(config.find_user("eve")->name == "*");
  CHECK(config.find_user("eve")->auth == AuthMethod::trust);
  CHECK(loaded(Parts{}.text()).find_database("other") == nullptr);
  CHECK(loaded(Parts{}.text()).find_user("other") == nullptr);
}

TEST_CASE("what a password can be") {
  const std::string md5 = "md5" + std::string(32, 'a');
  const auto secret = [](const std::string& user) {
    return loaded(with_user(user)).users[0].secret;
  };
  using Kind = auth::UserSecret::Kind;
  CHECK(secret("{password: 007}").plain.reveal() == "007");
  CHECK(secret("{password: true}").plain.reveal() == "true");
  CHECK(secret("{password: \"a$b$$c\"}").plain.reveal() == "a$b$c");
  CHECK(secret("{auth: md5, password: " + md5 + "}").kind == Kind::md5);
  CHECK(secret("{auth: trust}").kind == Kind::none);
  const std::string verifier =
      "SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
      "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
  CHECK(secret("{password: \"" + verifier + "\"}").kind == Kind::scram);
}

TEST_CASE("the environment in values") {
  const Variable host("DWSPOOL_TEST_HOST", "cn7");
  const Variable number("DWSPOOL_TEST_NUMBER", "7");
  const Variable odd("DWSPOOL_TEST_ODD", "a: b # ${c} \"");
  Parts parts;
  parts.cluster = "{coordinators: [\"${DWSPOOL_TEST_HOST}:800${DWSPOOL_TEST_NUMBER}\"]}";
  parts.user = "{password: \"${DWSPOOL_TEST_ODD}\", pool_size: \"${DWSPOOL_TEST_NUMBER}\"}";
  parts.more =
      "shutdown_timeout: ${DWSPOOL_TEST_NUMBER}s\n"
      "log: {level: \"${DWSPOOL_TEST_LEVEL:-debug}\"}\n";
  const Config config = loaded(parts.text());
  CHECK(config.clusters[0].coordinators[0].label() == "cn7:8007");
  CHECK(config.users[0].secret.plain.reveal() == "a: b # ${c} \"");
  CHECK(config.users[0].pool.size == 7U);
  CHECK(config.shutdown_timeout == 7s);
  CHECK(config.log.level == LogLevel::debug);
}

TEST_CASE("secret files") {
  const TempDir dir;
  dir.write("plain", "a secret\n");
  dir.write("windows", "a secret\r\n");
  dir.write("bare", "a secret");
  dir.write("two_lines", "a secret\n\n");
  dir.write("dollar", "${HOME}\n");
  dir.write("empty", "\n");
  dir.write("zero", std::string_view("s3cret\0x", 8));
  dir.write("long", std::string(70000, 'x'));
  const std::string path = dir.path("dwspool.yaml");
  const auto user_with = [](const std::string& file) {
    return with_user("{password_file: " + file + "}");
  };
  const auto secret = [&](const std::string& file) {
    return loaded(user_with(file), path).users[0].secret.plain.reveal();
  };
  CHECK(secret("plain") == "a secret");
  CHECK(secret("windows") == "a secret");
  CHECK(secret("bare") == "a secret");
  CHECK(secret("two_lines") == "a secret\n");
  CHECK(secret("dollar") == "${HOME}");
  CHECK(secret(dir.path("plain")) == "a secret");
  const std::string place = "3: users.bob.password_file: ";
  CHECK(complaints_about(user_with("empty"), path) ==
        place + "is empty; leave the key out where no password is meant");
  CHECK(complaints_about(user_with("zero"), path) ==
        place + "holds a zero byte, which no password has");
  CHECK(complaints_about(user_with("long"), path) ==
        place + "cannot read 'long': larger than 64 KiB");
  CHECK(complaints_about(user_with("none"), path) ==
        place + "cannot read 'none': No such file or directory");
  CHECK(complaints_about(user_with("."), path) == place + "cannot read '.': Is a directory");

  Parts parts;
  parts.cluster = "{coordinators: [a], user: pool, password_file: plain}";
  parts.database = "{user: other, password_file: bare}";
  parts.user = "{password: x, backend_password_file: windows}";
  const Config config = loaded(parts.text(), path);
  CHECK(config.clusters[0].password.reveal() == "a secret");
  CHECK(config.databases[0].backend_password->reveal() == "a secret");
  CHECK(config.users[0].backend_password->reveal() == "a secret");
}

TEST_CASE("the nearest knob wins") {
  const Config config = loaded(
      "clusters: {main: {coordinators: [a]}}\n"
      "defaults:\n"
      "  pool_mode: session\n"
      "  pool_size: 1\n"
      "  min_pool_size: 1\n"
      "  reserve_pool: 1\n"
      "  reserve_pool_timeout: 1s\n"
      "  queue_timeout: 1min\n"
      "  queue_notice: 1ms\n"
      "  server_idle_timeout: 1s\n"
      "  server_lifetime: 1s\n"
      "  defer_begin: false\n"
      "  max_prepared_statements: 1\n"
      "  pin_on: [My_Function, a_function]\n"
      "  replay: off\n"
      "  replay_deadline: 30s\n"
      "  replay_attempts: 2\n"
      "databases:\n"
      "  app: {pool_size: 2, queue_timeout: 2min, server_lifetime: 2s, defer_begin: true}\n"
      "users:\n"
      "  bob: {password: x, pool_size: 3, queue_notice: 0, server_lifetime: 3s, reserve_pool: 0}\n"
      "  eve: {password: x, pin_on: []}\n");
  const Database& app = config.databases[0];
  const PoolSettings bare = config.pool_settings(Database{}, nullptr);
  CHECK(bare.mode == PoolMode::session);
  CHECK(bare.size == 1);
  CHECK(bare.min_size == 1);
  CHECK(bare.reserve_size == 1);
  CHECK(bare.reserve_timeout == 1s);
  CHECK(bare.queue_timeout == 1min);
  CHECK(bare.queue_notice == 1ms);
  CHECK(bare.server_idle_timeout == 1s);
  CHECK(bare.server_lifetime == 1s);
  CHECK_FALSE(bare.defer_begin);
  CHECK(bare.max_prepared_statements == 1);
  CHECK(bare.pin_on == std::vector<std::string>{"a_function", "my_function"});
  CHECK(bare.replay == ReplayLevel::off);
  CHECK(bare.replay_deadline == 30s);
  CHECK(bare.replay_attempts == 2);
  const PoolSettings eve = config.pool_settings(app, config.find_user("eve"));
  CHECK(eve.size == 2);
  CHECK(eve.pin_on.empty());
  CHECK(eve.queue_timeout == 2min);
  CHECK(eve.server_lifetime == 2s);
  CHECK(eve.defer_begin);
  CHECK(eve.mode == PoolMode::session);
  const PoolSettings bob = config.pool_settings(app, config.find_user("bob"));
  CHECK(bob.size == 3);
  CHECK(bob.queue_timeout == 2min);
  CHECK(bob.queue_notice == Duration::zero());
  CHECK(bob.server_lifetime == 3s);
  CHECK(bob.reserve_size == 0);
}

TEST_CASE("anchors and merge keys") {
  const Config config = loaded(
      "clusters:\n"
      "  one: &one {coordinators: [a], user: pool, dialect: dws}\n"
      "  two:\n"
      "    <<: *one\n"
      "    coordinators: [b]\n"
      "databases: {app: {cluster: one}}\n"
      "users: {bob: &bob {password: x}, eve: *bob}\n");
  CHECK(config.clusters[1].dialect == Dialect::dws);
  CHECK(config.clusters[1].user == "pool");
  CHECK(config.clusters[1].coordinators[0].label() == "b:8000");
  CHECK(config.users[1].secret.plain.reveal() == "x");
}

TEST_CASE("files") {
  const TempDir dir;
  const auto text_of = [](const LoadResult& result) {
    const auto* const complaints = std::get_if<std::vector<Complaint>>(&result);
    return complaints == nullptr ? std::string() : complaints->front().text();
  };
  CHECK(text_of(load_file(dir.write("good.yaml", Parts{}.text()))).empty());
  const std::string none = dir.path("none.yaml");
  CHECK(text_of(load_file(none)) == none + ": cannot read: No such file or directory");
  CHECK(text_of(load_file(dir.path(""))).ends_with(": cannot read: Is a directory"));
  const std::string large = dir.write("large.yaml", std::string((16U << 20U) + 1, '#'));
  CHECK(text_of(load_file(large)) == large + ": cannot read: larger than 16384 KiB");
}

TEST_CASE("a large file is either read or refused") {
  std::string users = "clusters: {c: {coordinators: [a]}}\ndatabases: {\"*\": {}}\nusers:\n";
  for (int i = 0; i < 20000; ++i) users += "  user" + std::to_string(i) + ": {password: x}\n";
  CHECK(loaded(users).users.size() == 20000);
  const std::string one_word(std::size_t{10} << 20U, 'x');
  CHECK(complaints_about(with_cluster("{coordinators: [" + one_word + "]}")) ==
        "1: clusters.main.coordinators[0]: expected host:port, [IPv6 address]:port or "
        "/directory:port; the host name is too long");
}

TEST_CASE("auth methods have the names that the file uses") {
  for (const std::string_view name : {"trust", "md5", "scram-sha-256"}) {
    const std::string line = "auth_method: " + std::string(name) + "\n";
    CHECK(to_string(loaded(with(line)).auth_method) == name);
  }
}

}  // namespace
}  // namespace dwspool::config::testing
