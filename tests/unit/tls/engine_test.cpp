// Two engines talk to each other over memory: a client's and a server's.
#include "dwspool/tls/engine.h"

#include <random>
#include <vector>

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "support/test_certificates.h"
#include "unit/config/support.h"

namespace dwspool::tls {
namespace {

using State = Engine::State;

// One set for all cases: making keys takes time.
struct Files {
  config::testing::TempDir dir;
  dwspool::testing::TestCertificates made{dir.path("")};
  Files() {
    made.issue("server", "server", "DNS:db.example,IP:127.0.0.1,IP:::1");
    made.issue("plain", "db.example");
    made.issue("client", "bob", "email:bob@example,DNS:robert");
    made.issue("ended", "bob", "", -1);
    made.issue("revoked", "bob");
  }
};
Files& files() {
  static Files made;
  return made;
}

ServerOptions server_options(const std::string& name = "server") {
  ServerOptions options;
  options.certificate = files().made.certificate(name);
  options.key = files().made.key(name);
  return options;
}

ClientOptions client_options(bool verify = true) {
  ClientOptions options;
  options.verify = verify;
  if (verify) options.root_certificate = files().made.ca();
  return options;
}

std::shared_ptr<const Context> good(Context::Made made) {
  if (const auto* const error = std::get_if<ContextError>(&made)) {
    FAIL(error->option << ": " << error->message);
  }
  return std::get<std::shared_ptr<const Context>>(made);
}

std::string complaint(const Context::Made& made) {
  const auto* const error = std::get_if<ContextError>(&made);
  return error == nullptr ? "" : std::string(error->option) + ": " + error->message;
}

// What an engine makes of the bytes, handed over in pieces of this size.
std::string feed(Engine& engine, std::string_view bytes, std::size_t piece, std::string& answer) {
  std::string plain;
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, piece);
    bytes.remove_prefix(part.size());
    std::string buffer(part.size() + max_record, '\0');
    buffer.resize(engine.receive(part, buffer.data(), buffer.size(), answer));
    plain += buffer;
  }
  return plain;
}

struct Pair {
  Engine client;
  Engine server;
  std::string to_server;
  std::string to_client;
  std::string heard_by_server;
  std::string heard_by_client;
  std::size_t piece = std::string::npos;

  Pair(const ServerOptions& of_server, const ClientOptions& of_client, EngineOptions wishes = {},
       bool direct = false)
      : client(good(Context::client(of_client)), wishes),
        server(good(Context::server(of_server)), EngineOptions{direct, "", false, true}) {
    client.start(to_server);
    talk();
  }

  void talk() {
    while (!to_server.empty() || !to_client.empty()) {
      std::string bytes;
      bytes.swap(to_server);
      heard_by_server += feed(server, bytes, piece, to_client);
      bytes.clear();
      bytes.swap(to_client);
      heard_by_client += feed(client, bytes, piece, to_server);
    }
  }
  bool agreed() const {
    return client.state() == State::established && server.state() == State::established;
  }
};

bool say(Engine& from, std::vector<std::string_view> texts, std::string& wire) {
  std::vector<Slice> slices;
  for (const std::string_view text : texts) slices.push_back({text.data(), text.size()});
  return from.send(slices.data(), slices.size(), wire);
}

EngineOptions to_host(const std::string& host, bool verify = true) {
  EngineOptions options;
  options.host = host;
  options.verify_host = verify;
  return options;
}

}  // namespace

TEST_CASE("tls: both hear what the other says, however it is cut") {
  for (const std::size_t piece :
       {std::string::npos, std::size_t{1}, std::size_t{7}, std::size_t{1000}}) {
    CAPTURE(piece);
    Pair pair(server_options(), client_options());
    REQUIRE(pair.agreed());
    pair.piece = piece;
    const std::string large(100000, 'x');
    REQUIRE(say(pair.client, {"select ", "1", ""}, pair.to_server));
    REQUIRE(say(pair.server, {"a", large, "b"}, pair.to_client));
    CHECK(pair.to_server.find("select") == std::string::npos);
    pair.talk();
    CHECK(pair.heard_by_server == "select 1");
    CHECK(pair.heard_by_client == "a" + large + "b");
  }
}

TEST_CASE("tls: small pieces share a record, large ones are not copied together with them") {
  Pair pair(server_options(), client_options());
  std::string one;
  REQUIRE(say(pair.client, {"x"}, one));
  std::string many;
  const std::vector<std::string_view> texts(100, "x");
  REQUIRE(say(pair.client, texts, many));
  CHECK(many.size() == one.size() + 99);
}

TEST_CASE("tls: what is said together with the end of the handshake is heard") {
  Engine client(good(Context::client(client_options())), {});
  Engine server(good(Context::server(server_options())), {});
  std::string out;
  std::string back;
  client.start(out);
  feed(server, out, std::string::npos, back);
  out.clear();
  feed(client, back, std::string::npos, out);
  REQUIRE(client.state() == State::established);
  REQUIRE(say(client, {"hello"}, out));
  back.clear();
  CHECK(feed(server, out, std::string::npos, back) == "hello");
}

TEST_CASE("tls: the end is told, and told from a failure") {
  Pair pair(server_options(), client_options());
  REQUIRE(say(pair.client, {"bye"}, pair.to_server));
  pair.client.close(pair.to_server);
  pair.talk();
  CHECK(pair.heard_by_server == "bye");
  CHECK(pair.server.state() == State::closed);
}

TEST_CASE("tls: a changed byte ends the connection") {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    Pair pair(server_options(), client_options());
    REQUIRE(say(pair.client, {"select 1; select 2; select 3"}, pair.to_server));
    const std::size_t place = random() % pair.to_server.size();
    pair.to_server[place] = static_cast<char>(pair.to_server[place] ^ 0x21);
    pair.talk();
    CHECK(pair.heard_by_server.empty());
    // A length that was made larger is waited for.
    CHECK((pair.server.state() == State::failed || place < 5));
  }
}

TEST_CASE("tls: garbage in place of a handshake") {
  std::mt19937 random(2);
  for (int round = 0; round < 300; ++round) {
    Engine server(good(Context::server(server_options())), {});
    std::string bytes(1 + random() % 300, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    if (round % 2 == 0) bytes.replace(0, 3, "\x16\x03\x01", 3);
    std::string out;
    CHECK(feed(server, bytes, 1 + random() % 50, out).empty());
    CHECK(server.state() != State::established);
    CHECK_FALSE(server.handshake_done());
  }
}

TEST_CASE("tls: whom the client believes") {
  struct Row {
    const char* certificate;
    const char* host;
    bool verify_host;
    bool agreed;
  };
  const Row rows[] = {
      {"server", "db.example", true, true}, {"server", "other.example", true, false},
      {"server", "127.0.0.1", true, true},  {"server", "127.0.0.2", true, false},
      {"server", "::1", true, true},        {"server", "other.example", false, true},
      {"server", "", true, false},          {"plain", "db.example", true, true},
      {"plain", "127.0.0.1", true, false},  {"server", "server", true, false},
      {"ended", "bob", false, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.certificate);
    CAPTURE(row.host);
    Pair pair(server_options(row.certificate), client_options(),
              to_host(row.host, row.verify_host));
    CHECK(pair.agreed() == row.agreed);
    if (!row.agreed) CHECK_FALSE(pair.client.failure().empty());
  }
  // Without verification anybody will do.
  Pair pair(server_options("ended"), client_options(false), to_host("whoever", false));
  CHECK(pair.agreed());
}

TEST_CASE("tls: a certificate of an unknown authority, or a revoked one") {
  const Files others;
  ClientOptions strange = client_options();
  strange.root_certificate = others.made.ca();
  Pair unknown(server_options(), strange);
  CHECK_FALSE(unknown.agreed());
  CHECK(unknown.client.failure().find("certificate verify failed") != std::string::npos);

  ClientOptions careful = client_options();
  careful.crl = others.made.ca();  // no list at all
  CHECK(complaint(Context::client(careful)).starts_with("crl: "));
}

TEST_CASE("tls: certificates of clients") {
  const auto with = [](const std::string& name) {
    ClientOptions options = client_options(false);
    if (name.empty()) return options;
    options.certificate = files().made.certificate(name);
    options.key = files().made.key(name);
    return options;
  };
  ServerOptions asking = server_options();
  asking.client_ca = files().made.ca();
  for (const bool required : {false, true}) {
    CAPTURE(required);
    asking.require_client_certificate = required;
    Pair known(asking, with("client"));
    REQUIRE(known.server.state() == State::established);
    const std::optional<PeerNames> names = known.server.peer_names();
    REQUIRE(names);
    CHECK(names->common_name == "bob");
    CHECK(names->include("bob"));
    CHECK(names->include("robert"));
    CHECK(names->include("bob@example"));
    CHECK_FALSE(names->include("Bob"));
    CHECK_FALSE(names->include(""));
    Pair nobody(asking, with(""));
    CHECK((nobody.server.state() == State::established) == !required);
    CHECK_FALSE(nobody.server.peer_names());
    Pair ended(asking, with("ended"));
    CHECK(ended.server.state() == State::failed);
    CHECK(ended.server.failure().find("expired") != std::string::npos);
  }
  Pair not_asked(server_options(), with("client"));
  CHECK(not_asked.agreed());
  CHECK_FALSE(not_asked.server.peer_names());
  asking.client_crl = files().made.revoke("revoked");
  Pair revoked(asking, with("revoked"));
  CHECK(revoked.server.failure().find("revoked") != std::string::npos);
  Pair still(asking, with("client"));
  CHECK(still.server.state() == State::established);
}

TEST_CASE("tls: a connection that begins with TLS must say what for") {
  Pair silent(server_options(), client_options(), {}, true);
  CHECK(silent.server.state() == State::failed);
  CHECK(silent.server.failure().find("ALPN") != std::string::npos);
}

TEST_CASE("tls: versions") {
  for (const Version version : {Version::tls_1_2, Version::tls_1_3}) {
    ServerOptions server = server_options();
    server.algorithms.min_version = server.algorithms.max_version = version;
    Pair pair(server, client_options());
    REQUIRE(pair.agreed());
    CHECK(pair.client.version() == (version == Version::tls_1_2 ? "TLSv1.2" : "TLSv1.3"));
    CHECK(pair.server.cipher() == pair.client.cipher());
    CHECK_FALSE(pair.server.cipher().empty());
  }
  ServerOptions old = server_options();
  old.algorithms.max_version = Version::tls_1_2;
  ClientOptions fresh = client_options();
  fresh.algorithms.min_version = Version::tls_1_3;
  CHECK_FALSE(Pair(old, fresh).agreed());
}

TEST_CASE("tls: both ends know the same certificate for channel binding") {
  Pair pair(server_options(), client_options());
  CHECK(pair.server.server_end_point().size() == 32);
  CHECK(pair.server.server_end_point() == pair.client.server_end_point());
  Pair other(server_options("plain"), client_options());
  CHECK(other.server.server_end_point() != pair.server.server_end_point());
}

TEST_CASE("tls: files that cannot be used, and which key of the configuration they stand under") {
  const auto server = [](auto change) {
    ServerOptions options = server_options();
    change(options);
    return complaint(Context::server(options));
  };
  CHECK(server([](ServerOptions&) {}).empty());
  CHECK(server([](ServerOptions& o) { o.certificate = "/nowhere"; }) ==
        "certificate: cannot use /nowhere: No such file or directory");
  CHECK(server([](ServerOptions& o) { o.certificate = o.key; }).starts_with("certificate: cannot"));
  CHECK(server([](ServerOptions& o) { o.key = "/nowhere"; }) ==
        "key: cannot read /nowhere: No such file or directory");
  CHECK(server([](ServerOptions& o) { o.key = files().made.key("client"); }).starts_with("key: "));
  CHECK(server([](ServerOptions& o) { o.client_ca = "/nowhere"; }).starts_with("client_ca: "));
  CHECK(server([](ServerOptions& o) {
          o.client_ca = files().made.ca();
          o.client_crl = "/nowhere";
        }).starts_with("client_crl: "));
  CHECK(server([](ServerOptions& o) {
          o.algorithms.ciphers = "none such";
        }).starts_with("ciphers: "));
  CHECK(server([](ServerOptions& o) {
          o.algorithms.ciphersuites = "none such";
        }).starts_with("ciphersuites: "));
  CHECK(
      server([](ServerOptions& o) { o.algorithms.curves = "none such"; }).starts_with("curves: "));
  const std::string open_key =
      files().dir.write("open.key", config::testing::content_of(files().made.key("server")), 0604);
  CHECK(server([&](ServerOptions& o) { o.key = open_key; }).find("chmod 600") != std::string::npos);
  ClientOptions client = client_options();
  client.root_certificate = "/nowhere";
  CHECK(complaint(Context::client(client)).starts_with("root_certificate: "));
}

TEST_CASE("tls: when a certificate ends") {
  const std::optional<std::int64_t> end = good(Context::server(server_options()))->not_after();
  REQUIRE(end);
  CHECK(*end > ::time(nullptr) + 86400);
  CHECK(*end < ::time(nullptr) + 3 * 86400);
  CHECK_FALSE(good(Context::client(client_options()))->not_after());
}

}  // namespace dwspool::tls
