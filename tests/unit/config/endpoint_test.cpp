#include "config/endpoint.h"

#include <string>

#include <doctest/doctest.h>

namespace dwspool::config {
namespace {

TEST_CASE("endpoints") {
  struct Row {
    std::string_view text;
    std::string_view host;
    std::string_view unix_dir;
    int port;  // -1: none
  };
  const Row rows[] = {
      {"cn1:8000", "cn1", "", 8000},
      {"cn1", "cn1", "", -1},
      {"10.0.0.1:65535", "10.0.0.1", "", 65535},
      {"*:6432", "*", "", 6432},
      {"[::1]:6432", "::1", "", 6432},
      {"[fe80::1%eth0]", "fe80::1%eth0", "", -1},
      {"/run/dwspool:6432", "", "/run/dwspool", 6432},
      {"/run/dwspool", "", "/run/dwspool", -1},
      {"/run/with:colon:1", "", "/run/with:colon", 1},
      {"cn1:0", "cn1", "", 0},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const Result<Endpoint> endpoint = parse_endpoint(row.text);
    REQUIRE(endpoint);
    CHECK(endpoint->host == row.host);
    CHECK(endpoint->unix_dir == row.unix_dir);
    CHECK((endpoint->port ? int{*endpoint->port} : -1) == row.port);
  }
}

TEST_CASE("what is no endpoint") {
  const std::string long_name(254, 'a');
  const std::string long_dir = "/" + long_name;
  for (const std::string_view text :
       {std::string_view(""), std::string_view(":6432"), std::string_view("cn1:"),
        std::string_view("cn1:x"), std::string_view("cn1:65536"), std::string_view("cn1:-1"),
        std::string_view("::1:6432"), std::string_view("::1"), std::string_view("[::1"),
        std::string_view("[::1]6432"), std::string_view("[::1]:"), std::string_view("[]:1"),
        std::string_view("a b:1"), std::string_view("a,b:1"), std::string_view("a/b:1"),
        std::string_view("/run/dwspool:"), std::string_view("k\xc3\xb6ln:1"),
        std::string_view(long_name), std::string_view(long_dir)}) {
    CAPTURE(text);
    const Result<Endpoint> endpoint = parse_endpoint(text);
    REQUIRE_FALSE(endpoint);
    CHECK(endpoint.error().message.starts_with("expected host:port"));
  }
}

TEST_CASE("host and port together") {
  CHECK(join_host_port("cn1", 8000) == "cn1:8000");
  CHECK(join_host_port("::1", 8000) == "[::1]:8000");
  CHECK(join_host_port("/run/a:b", 1) == "/run/a:b:1");
}

TEST_CASE("the longest directory leaves room for the socket's name") {
  CHECK(unix_dir_problem("/" + std::string(90, 'd')).empty());
  CHECK_FALSE(unix_dir_problem("/" + std::string(92, 'd')).empty());
  CHECK_FALSE(unix_dir_problem("run").empty());
}

}  // namespace
}  // namespace dwspool::config
