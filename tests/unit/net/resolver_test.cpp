#include "dwspool/net/resolver.h"

#include <memory>

#include <doctest/doctest.h>

namespace dwspool::net {
namespace {

std::string known(const std::string& host) {
  std::string text;
  for (const Address& address : Resolver::known(host, 7)) text += address.text();
  return text;
}

struct Asked {
  std::vector<Address> addresses;
  std::string error;
  int answers = 0;
};

// Of what needs no name server.
Asked ask(const std::string& host, bool give_up = false) {
  Asked asked;
  Loop loop;
  std::unique_ptr<Resolver> resolver = std::make_unique<Resolver>(
      loop, host, 7, [&](std::vector<Address> addresses, const std::string& error) {
        asked.addresses = std::move(addresses);
        asked.error = error;
        ++asked.answers;
        resolver.reset();
      });
  CHECK(asked.answers == 0);
  if (give_up) resolver.reset();
  loop.run();
  return asked;
}

TEST_CASE("resolver: what is no name needs no look-up") {
  CHECK(known("192.0.2.1") == "192.0.2.1:7");
  CHECK(known("2001:db8::1") == "[2001:db8::1]:7");
  CHECK(known("/run/x") == "unix:/run/x/.s.PGSQL.7");
  CHECK(known("/" + std::string(200, 'x')) == "");
  CHECK(known("localhost") == "");
}

TEST_CASE("resolver: it answers once, behind the call") {
  const Asked asked = ask("192.0.2.1");
  REQUIRE(asked.addresses.size() == 1);
  CHECK(asked.addresses.front().text() == "192.0.2.1:7");
  CHECK(asked.error == "");
  CHECK(asked.answers == 1);
  CHECK(ask("/" + std::string(200, 'x')).error.find("too long") != std::string::npos);
  CHECK(ask("192.0.2.1", true).answers == 0);
}

TEST_CASE("resolver: a name is looked up in a thread, for which nobody has to wait") {
  const Asked asked = ask("localhost");
  CHECK(asked.answers == 1);
  CHECK((asked.error != "") == asked.addresses.empty());
  CHECK(ask("localhost", true).answers == 0);
}

}  // namespace
}  // namespace dwspool::net
