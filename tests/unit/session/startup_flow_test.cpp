// A client connection up to the end of its log-in.
#include "dwspool/session/startup_flow.h"

#include <random>

#include <doctest/doctest.h>

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/writer.h"

namespace dwspool::session {
namespace {

using Need = StartupFlow::Need;

std::string packet(std::uint32_t code, std::string_view body = {}) {
  std::string bytes;
  wire::append_u32(bytes, static_cast<std::uint32_t>(8 + body.size()));
  wire::append_u32(bytes, code);
  return bytes.append(body);
}

const std::string ssl_request = packet(80877103);
const std::string gss_request = packet(80877104);

std::string startup(std::string_view parameters, std::uint32_t version = 0x30000) {
  return packet(version, std::string(parameters) + '\0');
}
const std::string bob = startup(std::string_view("user\0bob\0work_mem\0001MB\0", 22));

std::string flat(Output& out) {
  std::string bytes = out.to_client.flatten();
  out.clear();
  return bytes;
}

}  // namespace

TEST_CASE("start-up: encryption is refused, each kind once, then the packet counts") {
  StartupFlow flow;
  Output out;
  std::string_view in = gss_request;
  CHECK(flow.on_bytes(in, out) == Need::input);
  in = ssl_request;
  CHECK(flow.on_bytes(in, out) == Need::input);
  CHECK(flat(out) == "NN");
  in = bob;
  CHECK(flow.on_bytes(in, out) == Need::user);
  CHECK(in.empty());
  CHECK(flow.user() == "bob");
  CHECK(flow.database() == "bob");
  CHECK(*flow.settings().settings.find("work_mem") == "'1MB'");
}

TEST_CASE("start-up: nobody asks for encryption twice") {
  for (const std::string& request : {ssl_request, gss_request}) {
    StartupFlow flow;
    Output out;
    std::string_view in = request;
    CHECK(flow.on_bytes(in, out) == Need::input);
    in = request;
    CHECK(flow.on_bytes(in, out) == Need::close);
  }
}

TEST_CASE("start-up: what comes behind a request for encryption without its answer is refused") {
  StartupFlow flow;
  Output out;
  const std::string hasty = ssl_request + bob;
  std::string_view in = hasty;
  CHECK(flow.on_bytes(in, out) == Need::close);
}

TEST_CASE("start-up: cut anywhere, the outcome is the same") {
  for (std::size_t cut = 0; cut < bob.size(); ++cut) {
    CAPTURE(cut);
    StartupFlow flow;
    Output out;
    std::string_view first = std::string_view(bob).substr(0, cut);
    CHECK(flow.on_bytes(first, out) == Need::input);
    const std::string rest = std::string(first) + bob.substr(cut);
    std::string_view in = rest;
    CHECK(flow.on_bytes(in, out) == Need::user);
    CHECK(flow.user() == "bob");
  }
}

TEST_CASE("start-up: a cancel request is handed over and answered with nothing") {
  StartupFlow flow;
  Output out;
  std::string body;
  wire::append_u32(body, 4711);
  body += "abcd";
  const std::string request = packet(80877102, body);
  std::string_view in = request;
  CHECK(flow.on_bytes(in, out) == Need::cancel);
  CHECK(flow.cancel_request().pid == 4711);
  CHECK(flow.cancel_request().secret == "abcd");
  CHECK(flat(out).empty());
}

TEST_CASE("start-up: newer minor versions and protocol options are negotiated") {
  StartupFlow flow;
  Output out;
  const std::string newer = startup(std::string_view("user\0bob\0_pq_.thing\0on\0", 23), 0x30002);
  std::string_view in = newer;
  CHECK(flow.on_bytes(in, out) == Need::user);
  const std::string answer = flat(out);
  REQUIRE_FALSE(answer.empty());
  CHECK(answer[0] == 'v');
  CHECK(answer.find("_pq_.thing") != std::string::npos);
}

TEST_CASE("start-up: what cannot be served is refused with a FATAL") {
  for (const std::string& bad :
       {packet(0x20000), packet(0x40000, std::string("user\0x\0\0", 8)), startup(""),
        startup(std::string_view("user\0bob\0replication\0true\0", 26)),
        startup(std::string_view("user\0\0", 6))}) {
    CAPTURE(bad);
    StartupFlow flow;
    Output out;
    std::string_view in = bad;
    CHECK(flow.on_bytes(in, out) == Need::close);
    CHECK(flat(out).find("FATAL") != std::string::npos);
  }
}

TEST_CASE("start-up: lengths beyond all reason end it without waiting for the bytes") {
  for (const std::uint32_t length : {0U, 3U, 7U, 10001U, 0x7fffffffU, 0xffffffffU}) {
    CAPTURE(length);
    StartupFlow flow;
    Output out;
    std::string bytes;
    wire::append_u32(bytes, length);
    wire::append_u32(bytes, 0x30000);
    std::string_view in = bytes;
    CHECK(flow.on_bytes(in, out) == Need::close);
  }
}

TEST_CASE("start-up: random bytes never hang it nor let anybody in") {
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    StartupFlow flow;
    Output out;
    std::string bytes(random() % 64, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    if (bytes.size() >= 8 && random() % 2 == 0) {
      bytes[0] = bytes[1] = bytes[2] = 0;
      bytes[4] = 0;
      bytes[5] = 3;
    }
    std::string_view in = bytes;
    const std::size_t before = in.size();
    const Need need = flow.on_bytes(in, out);
    CHECK(need != Need::accepted);
    CHECK(in.size() <= before);
  }
}

TEST_CASE("start-up: a wrong password and a wrong user read the same") {
  const auto said = [](bool known) {
    StartupFlow flow;
    Output out;
    std::string_view in = bob;
    REQUIRE(flow.on_bytes(in, out) == Need::user);
    auth::ClientAuth::Request request;
    request.method = auth::ClientMethod::md5;
    request.user = "bob";
    if (known) request.secret = auth::parse_user_secret("secret");
    request.random = std::string(64, 'r');
    request.mock_secret = "m";
    CHECK(flow.authenticate(std::move(request), out) == Need::input);
    std::string answer;
    wire::MessageWriter(answer, 'p').cstring("md5 00000000000000000000000000000000").end();
    std::string_view password = answer;
    CHECK(flow.on_bytes(password, out) == Need::close);
    CHECK(flow.password_refused());
    return flat(out);
  };
  CHECK(said(true) == said(false));
}

}  // namespace dwspool::session
