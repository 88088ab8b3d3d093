#include "config/conninfo.h"

#include <chrono>
#include <cstring>
#include <string>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "dwspool/base/unique_fd.h"

#include "support.h"

namespace dwspool::config::testing {
namespace {

using namespace std::chrono_literals;

// No PG* variable of whoever runs the tests, and a home of its own.
class CleanEnvironment {
 public:
  explicit CleanEnvironment(const TempDir& dir) : home_("HOME", dir.path("")) {}

 private:
  Variable home_;
  Variable unset_[12] = {{"PGHOST", std::nullopt},        {"PGHOSTADDR", std::nullopt},
                         {"PGPORT", std::nullopt},        {"PGUSER", std::nullopt},
                         {"PGDATABASE", std::nullopt},    {"PGPASSWORD", std::nullopt},
                         {"PGPASSFILE", std::nullopt},    {"PGSERVICE", std::nullopt},
                         {"PGSERVICEFILE", std::nullopt}, {"PGSYSCONFDIR", std::nullopt},
                         {"PGSSLMODE", std::nullopt},     {"PGCONNECT_TIMEOUT", std::nullopt}};
};

// All that a string says, in one line.
std::string meaning(const Result<Conninfo>& parsed) {
  if (!parsed) return "error: " + parsed.error().message;
  std::string text;
  for (const ConninfoHost& host : parsed->hosts) {
    text += host.name + '=' + host.coordinator.label() + ' ';
  }
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) text += std::string(name) + ':' + value + ' ';
  };
  add("db", parsed->database);
  add("user", parsed->user);
  add("passfile", parsed->passfile);
  if (parsed->password) add("password", parsed->password->reveal());
  if (parsed->tls) {
    const tls::ClientOptions& options = parsed->tls->options;
    add("tls", std::string(to_string(parsed->tls->mode)));
    add("root", options.root_certificate);
    add("crl", options.crl);
    add("cert", options.certificate);
    add("key", options.key);
    if (!parsed->tls->send_sni) add("no-sni", "0");
    if (options.algorithms.min_version == tls::Version::tls_1_3) add("min", "1.3");
    if (options.algorithms.max_version == tls::Version::tls_1_2) add("max", "1.2");
  }
  for (const std::string& problem : parsed->problems) add("problem", problem);
  return text;
}

std::string meaning(const std::string& text) {
  return meaning(parse_conninfo(text));
}

TEST_CASE("strings and URIs") {
  const TempDir dir;
  const CleanEnvironment clean(dir);
  struct Row {
    std::string text;
    std::string meaning;
  };
  const Row rows[] = {
      {"", ""},
      {"host=a", "a=a:5432 "},
      {"host=a port=1", "a=a:1 "},
      {"host=a,b port=1,2", "a=a:1 b=b:2 "},
      {"host=a,b port=7", "a=a:7 b=b:7 "},
      {"host=a,b port=7,", "a=a:7 b=b:5432 "},
      {"host=/run/pg", "/run/pg=/run/pg:5432 "},
      {"hostaddr=10.0.0.1,::1 port=1", "10.0.0.1=10.0.0.1:1 ::1=[::1]:1 "},
      {"host=a,b hostaddr=10.0.0.1,", "a=10.0.0.1:5432 b=b:5432 "},
      {"host=a user=u dbname=d password='p w'", "a=a:5432 db:d user:u password:p w "},
      {"host = a  user= 'o\\'neil'", "a=a:5432 user:o'neil "},
      {"postgresql://u:p%40w@a:1,b:2/d", "a=a:1 b=b:2 db:d user:u password:p@w "},
      {"postgres://[::1]:1/?user=u", "::1=[::1]:1 user:u "},
      {"postgresql:///d?host=/run/pg&port=3", "/run/pg=/run/pg:3 db:d "},
      {"host=a passfile=/x", "a=a:5432 passfile:/x "},
      {"host=a sslmode=disable", "a=a:5432 tls:disable "},
      {"host=a sslmode=allow gssencmode=disable", "a=a:5432 tls:allow "},
      {"host=a sslmode=require", "a=a:5432 tls:require "},
      {"host=a sslmode=verify-full sslrootcert=/x sslcrl=/l sslsni=0",
       "a=a:5432 tls:verify-full root:/x crl:/l no-sni:0 "},
      {"host=a sslcert=/c sslkey=/k", "a=a:5432 tls:prefer cert:/c key:/k "},
      {"host=a ssl_min_protocol_version=TLSv1.3", "a=a:5432 tls:prefer min:1.3 "},
      {"host=a ssl_max_protocol_version=TLSv1.2", "a=a:5432 tls:prefer max:1.2 "},
      {"host=a sslmode=prefer target_session_attrs=any channel_binding=prefer", "a=a:5432 "},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(meaning(row.text) == row.meaning);
  }
}

TEST_CASE("times of a string") {
  const TempDir dir;
  const CleanEnvironment clean(dir);
  const Result<Conninfo> parsed = parse_conninfo(
      "host=a connect_timeout=3 keepalives=1 keepalives_idle=4 keepalives_interval=5 "
      "keepalives_count=6");
  REQUIRE(parsed);
  CHECK(parsed->problems.empty());
  CHECK(parsed->connect_timeout == Duration{3s});
  CHECK(parsed->keepalive_idle == Duration{4s});
  CHECK(parsed->keepalive_interval == Duration{5s});
  CHECK(parsed->keepalive_count == 6);
  CHECK_FALSE(parse_conninfo("host=a")->connect_timeout);
}

TEST_CASE("what dwspool cannot do") {
  const TempDir dir;
  const CleanEnvironment clean(dir);
  const std::string pair = "tls:prefer problem:sslcert and sslkey belong together; name both ";
  struct Row {
    std::string text;
    std::string problems;
  };
  const Row rows[] = {
      {"sslcert=/x", "tls:prefer cert:/x " + pair.substr(11)},
      {"sslkey=/x", "tls:prefer key:/x " + pair.substr(11)},
      {"ssl_min_protocol_version=TLSv1",
       "tls:prefer problem:its ssl_min_protocol_version must be TLSv1.2 or TLSv1.3 "},
      {"channel_binding=require",
       "problem:its channel_binding would have no effect in dwspool; leave it out "},
      {"sslpassword=x", "problem:its sslpassword would have no effect in dwspool; leave it out "},
      {"options='-c a=b'", "problem:its options would have no effect in dwspool; leave it out "},
      {"application_name=x",
       "problem:its application_name would have no effect in dwspool; leave it out "},
      {"target_session_attrs=read-write",
       "problem:its target_session_attrs would have no effect in dwspool; leave it out "},
      {"gssencmode=require",
       "problem:its gssencmode would have no effect in dwspool; leave it out "},
      {"connect_timeout=0", "problem:its connect_timeout must be a number from 1 to 3600 "},
      {"connect_timeout=1s", "problem:its connect_timeout must be a number from 1 to 3600 "},
      {"keepalives_count=128", "problem:its keepalives_count must be a number from 1 to 127 "},
      {"keepalives=0", "problem:keepalives cannot be switched off "},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(meaning("host=a " + row.text) == "a=a:5432 " + row.problems);
  }
  CHECK(meaning("port=1") == "problem:it names a port, but no host ");
  CHECK(meaning("host=a port=s3cret") ==
        "problem:it has a port that is no number from 1 to 65535 ");
  CHECK(meaning("host=a port=0") == "problem:it has a port that is no number from 1 to 65535 ");
  CHECK(meaning("host=a,,b").starts_with("a=a:5432 b=b:5432 problem:it has an entry among its"));
  CHECK(meaning("host=@a").starts_with("problem:it has an entry among its hosts"));
}

TEST_CASE("mistakes, without the passwords near them") {
  const TempDir dir;
  const CleanEnvironment clean(dir);
  struct Row {
    std::string text;
    std::string error;
  };
  const Row rows[] = {
      {"word", "missing \"=\" after \"...\" in connection info string"},
      {"hots=a", "invalid connection option \"...\"; did you mean 'host'?"},
      {"host='a", "unterminated quoted string in connection info string"},
      {"host=a,b port=1,2,3", "could not match 3 port numbers to 2 hosts"},
      {"host=a sslmode=x", "invalid sslmode value: \"x\""},
      {"host=a password=s3cret s3cret", "missing \"=\" after \"...\" in connection info string"},
      {"password=a s3cret=b", "invalid connection option \"...\""},
      {"password='s3cret", "unterminated quoted string in connection info string"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(meaning(row.text) == "error: " + row.error);
  }
  for (const std::string text :
       {"postgresql:/u:s3cret@a?x=y", "pas's3cret'", "pass3cret=x", "postgresql://u:s3cret%zz@a",
        "postgresql://u:s3cret@[a", "postgresql://u:p@a?s3cret", "postgresql://u:s3cret@[::1]x:1",
        "postgresql://u:p@a?x=\"s3cret\"", "postgresql://u:s3cret",
        "postgresql://a?password=%s3cret"}) {
    CAPTURE(text);
    CHECK(meaning(text).find("s3cret") == std::string::npos);
  }
}

TEST_CASE("service files") {
  const TempDir dir;
  const CleanEnvironment clean(dir);
  const std::string file = dir.write("services",
                                     "# comment\n"
                                     "[one]\n"
                                     "host=a,b\n"
                                     "port=8000\n"
                                     "user=from_service\n"
                                     "password=pw\n"
                                     "dbname=d\n"
                                     "\n"
                                     "[tls]\nhost=a\nsslmode=verify-full\n"
                                     "[bound]\nhost=a\nchannel_binding=require\n"
                                     "[bad]\nhots=a\n"
                                     "[nothing]\n");
  const Variable services("PGSERVICEFILE", file);
  CHECK(meaning("service=one") == "a=a:8000 b=b:8000 db:d user:from_service password:pw ");
  CHECK(meaning("service=one user=u port=1,2") == "a=a:1 b=b:2 db:d user:u password:pw ");
  CHECK(meaning("postgresql:///x?service=one") ==
        "a=a:8000 b=b:8000 db:x user:from_service password:pw ");
  CHECK(meaning("service=nothing") == "");
  CHECK(meaning("service=tls") == "a=a:5432 tls:verify-full ");
  CHECK(meaning("service=bound") ==
        "a=a:5432 problem:its channel_binding would have no effect in dwspool; leave it out ");
  CHECK(meaning("service=none") == "error: definition of service \"none\" not found");
  CHECK(meaning("service=bad") == "error: syntax error in service file \"" + file + "\", line 16");
}

TEST_CASE("service files in the home and in the system's folder") {
  const TempDir dir;
  const CleanEnvironment clean(dir);
  dir.write(".pg_service.conf", "[home]\nhost=h\n");
  dir.write("pg_service.conf", "[system]\nhost=s\n");
  const Variable system("PGSYSCONFDIR", dir.path(""));
  CHECK(meaning("service=home") == "h=h:5432 ");
  CHECK(meaning("service=system") == "s=s:5432 ");
}

TEST_CASE("the environment says nothing, even where it says the same") {
  const TempDir dir;
  const CleanEnvironment clean(dir);
  const Variable services("PGSERVICEFILE",
                          dir.write("services", "[one]\nuser=leak\n[two]\nhost=leak\n"));
  const Variable host("PGHOST", "leak");
  const Variable address("PGHOSTADDR", "10.9.9.9");
  const Variable port("PGPORT", "999");
  const Variable user("PGUSER", "leak");
  const Variable database("PGDATABASE", "leak");
  const Variable password("PGPASSWORD", "leak");
  const Variable passfile("PGPASSFILE", dir.write("pass", "*:*:*:*:found\n"));
  const Variable mode("PGSSLMODE", "verify-full");
  const Variable old_mode("PGREQUIRESSL", "1");
  const Variable options("PGOPTIONS", "-c leak=1");
  const Variable timeout("PGCONNECT_TIMEOUT", "7");
  CHECK(meaning("") == "");
  CHECK(meaning("host=a") == "a=a:5432 ");
  CHECK(meaning("host=a,b port=1,2") == "a=a:1 b=b:2 ");
  CHECK(meaning("service=one") == "user:leak ");
  CHECK(meaning("service=two") == "leak=leak:5432 ");
  const Variable service("PGSERVICE", "none");
  CHECK(meaning("host=a") == "a=a:5432 ");
  CHECK(find_password("a", 1, "d", "u", "")->reveal() == "found");
}

TEST_CASE("the name of the system's user says nothing") {
  const TempDir dir;
  const CleanEnvironment clean(dir);
  const std::string me = ::getenv("USER") != nullptr ? ::getenv("USER") : "root";
  const Variable services("PGSERVICEFILE", dir.write("services", "[me]\nuser=" + me + "\n"));
  CHECK(meaning("dbname=d") == "db:d ");
  CHECK(meaning("service=me") == "user:" + me + " ");
}

TEST_CASE("password files") {
  const TempDir dir;
  const CleanEnvironment clean(dir);
  const std::string lines =
      "cn1:8000:d:u:first\n"
      "cn2:*:*:u:sec\\:ond\n"
      "localhost:5432:*:u:local\n"
      "*:*:u:u:own\n";
  const std::string file = dir.write("pass", lines);
  const auto found = [&](std::string_view host, std::uint16_t port, std::string_view database) {
    const std::optional<Secret> password = find_password(host, port, database, "u", file);
    return password ? password->reveal() : "nothing";
  };
  CHECK(found("cn1", 8000, "d") == "first");
  CHECK(found("cn1", 8001, "d") == "nothing");
  CHECK(found("cn2", 8001, "x") == "sec:ond");
  CHECK(found("cn3", 1, "") == "own");
  CHECK_FALSE(find_password("cn1", 8000, "d", "", file));
  CHECK_FALSE(find_password("cn1", 8000, "d", "u", dir.path("none")));
  CHECK_FALSE(find_password("cn1", 8000, "d", "u", ""));
  dir.write(".pgpass", "cn1:8000:d:u:home\n");
  CHECK(find_password("cn1", 8000, "d", "u", "")->reveal() == "home");
  const Variable passfile("PGPASSFILE", file);
  CHECK(find_password("cn1", 8000, "d", "u", "")->reveal() == "first");
}

// The same, as part of a file.

TEST_CASE("conninfo in a cluster") {
  const TempDir dir;
  const CleanEnvironment clean(dir);
  const std::string pass = dir.write("pass", "a:*:*:u:one\nb:*:*:u:one\nc:*:*:u:other\n");
  const auto cluster = [](const std::string& text) {
    return loaded(with_cluster(text)).clusters[0];
  };
  const Cluster full = cluster(
      "{conninfo: \"host=a,b user=u dbname=d connect_timeout=3 keepalives_idle=9 passfile=" + pass +
      "\"}");
  REQUIRE(full.coordinators.size() == 2);
  CHECK(full.coordinators[1].label() == "b:5432");
  CHECK(full.database == "d");
  CHECK(full.user == "u");
  CHECK(full.password.reveal() == "one");
  CHECK(full.connect_timeout == 3s);
  CHECK(full.keepalive.idle == 9s);
  CHECK(full.keepalive.interval == 2s);

  const Cluster split =
      cluster("{coordinators: [a], user: u, conninfo: \"passfile=" + pass + "\"}");
  CHECK(split.coordinators[0].label() == "a:8000");
  CHECK(split.password.reveal() == "one");

  const Cluster given =
      cluster("{coordinators: [a], user: u, password: x, conninfo: \"passfile=" + pass + "\"}");
  CHECK(given.password.reveal() == "x");

  const Variable host("DWSPOOL_TEST_HOST", "b");
  CHECK(cluster("{conninfo: \"host=${DWSPOOL_TEST_HOST} port=1\"}").coordinators[0].label() ==
        "b:1");
}

TEST_CASE("complaints about conninfo in a cluster") {
  const TempDir dir;
  const CleanEnvironment clean(dir);
  const std::string pass = dir.write("pass", "a:*:*:u:one\nc:*:*:u:s3cret\n");
  const std::string open_file = dir.write("open", "*:*:*:*:s3cret\n", 0644);
  const std::string place = "1: clusters.main.conninfo: ";
  const std::string no_password =
      place +
      "its passfile gives no password for this user: the file must be there, readable for "
      "nobody else (chmod 600), and have a line that fits";
  const auto said = [](const std::string& key) {
    return "1: clusters.main." + key +
           ": conninfo, or its service, says this already; write it once";
  };
  struct Row {
    std::string cluster;
    std::string complaints;
  };
  const Row rows[] = {
      {"{conninfo: \"host=a sslmode=verify-ca\"}",
       place + "verify-ca needs a root certificate, which those of the servers come from"},
      {"{conninfo: \"host=a sslmode=require\", tls: {}}", said("tls")},
      {"{conninfo: \"hots=a\"}", place + "invalid connection option \"...\"; did you mean 'host'?"},
      {"{conninfo: [a]}", place + "expected a connection string, found a list"},
      {"{conninfo: \"user=u\"}",
       "1: clusters.main: has no coordinator; write for example: coordinators: [\"cn1:8000\"]"},
      {"{conninfo: \"host=a\", coordinators: [b]}",
       place + "it names hosts, and so does 'coordinators'; write one of them"},
      {"{conninfo: \"port=1\", coordinators: [b]}", place + "it names a port, but no host"},
      {"{conninfo: \"host=a,a\"}", place + "a:5432 stands there twice"},
      {"{conninfo: \"host=a user=u dbname=d password=s3cret connect_timeout=1 keepalives_idle=1\", "
       "user: u, database: d, password: x, connect_timeout: 1s, tcp_keepalive: {}}",
       said("tcp_keepalive") + '\n' + said("connect_timeout") + '\n' + said("database") + '\n' +
           said("user") + '\n' + said("password")},
      {"{conninfo: \"host=a password=s3cret\"}",
       "1: clusters.main: has a password, but no user that it belongs to"},
      {"{conninfo: \"host=a user=" + std::string(64, 'u') + "\"}",
       place + "a name has at most 63 bytes, this one has 64"},
      {"{conninfo: \"host=a passfile=" + pass + "\"}",
       place + "it names a passfile, but no user to look for"},
      {"{conninfo: \"host=a user=u passfile=" + dir.path("none") + "\"}", no_password},
      {"{conninfo: \"host=b user=u passfile=" + pass + "\"}", no_password},
      {"{conninfo: \"host=a user=u passfile=" + open_file + "\"}", no_password},
      {"{conninfo: \"host=a,c user=u passfile=" + pass + "\"}",
       place + "the password file has several passwords for the hosts of this cluster; a cluster "
               "has one"},
      {"{conninfo: \"host=a user=u\"}", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.cluster);
    CHECK(complaints_about(with_cluster(row.cluster)) == row.complaints);
  }
}

// A socket that listens, and knows whether anybody came.
class Doorbell {
 public:
  explicit Doorbell(int family) : fd_(::socket(family, SOCK_STREAM, 0)) {}

  template <class Address>
  void listen(const Address& address) {
    sockaddr_storage storage{};
    std::memcpy(&storage, &address, sizeof address);
    REQUIRE(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&storage), sizeof address) == 0);
    REQUIRE(::listen(fd_.get(), 8) == 0);
  }
  std::uint16_t port() const {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
  }
  bool rang() const {
    pollfd waiting{fd_.get(), POLLIN, 0};
    return ::poll(&waiting, 1, 0) > 0;
  }

 private:
  UniqueFd fd_;
};

TEST_CASE("nothing is connected to") {
  const TempDir dir;
  const CleanEnvironment clean(dir);
  Doorbell tcp(AF_INET);
  sockaddr_in local{};
  local.sin_family = AF_INET;
  local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  tcp.listen(local);
  const std::string port = std::to_string(tcp.port());
  Doorbell by_name(AF_UNIX);
  sockaddr_un named{};
  named.sun_family = AF_UNIX;
  const std::string socket_path = dir.path(".s.PGSQL." + port);
  REQUIRE(socket_path.size() < sizeof named.sun_path);
  std::memcpy(named.sun_path, socket_path.c_str(), socket_path.size() + 1);
  by_name.listen(named);

  const std::string pass = dir.write("pass", "*:*:*:*:pw\n");
  const Variable services(
      "PGSERVICEFILE", dir.write("services", "[s]\nhost=127.0.0.1\nport=" + port + "\nuser=u\n"));
  const Variable host("PGHOST", "127.0.0.1");
  const Variable env_port("PGPORT", port);
  for (const std::string& text :
       {"host=127.0.0.1 port=" + port + " user=u passfile=" + pass,
        "hostaddr=127.0.0.1 port=" + port + " user=u password=pw dbname=d sslmode=disable",
        "postgresql://u:pw@127.0.0.1:" + port + "/d",
        "host=" + dir.path("").substr(0, dir.path("").size() - 1) + " port=" + port + " user=u",
        std::string("service=s passfile=") + pass, std::string("user=u")}) {
    CAPTURE(text);
    CHECK(parse_conninfo(text));
    loaded(with_cluster(text == "user=u"
                            ? "{coordinators: [\"127.0.0.1:" + port + "\"], conninfo: \"user=u\"}"
                            : "{conninfo: \"" + text + "\"}"));
    CHECK_FALSE(tcp.rang());
    CHECK_FALSE(by_name.rang());
  }
}

}  // namespace
}  // namespace dwspool::config::testing
