#include "dwspool/console/status.h"

#include <array>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

namespace dwspool::console {
namespace {

bool has(const std::string& text, std::string_view piece) {
  return text.find(piece) != std::string::npos;
}

}  // namespace

TEST_CASE("status: a table becomes objects; numbers stay numbers, NULL is null") {
  static constexpr auto columns = std::to_array<Column>(
      {{"name", Type::text}, {"n", Type::int4}, {"value", Type::numeric}, {"left", Type::int8}});
  std::string out;
  append_json(out, {columns, {}});
  CHECK(out == "[]");
  out.clear();
  append_json(out, {columns,
                    {{"a\"b\\<script>\n", "4", "0.500000", std::nullopt},
                     {"\xff", "-1", "0", "12345678901"}}});
  CHECK(out == R"([{"name":"a\"b\\<script>\n","n":4,"value":0.500000,"left":null},)"
               "{\"name\":\"\xef\xbf\xbd\",\"n\":-1,\"value\":0,\"left\":12345678901}]");
}

TEST_CASE("status: what there is of the process") {
  Facts facts;
  facts.version = "dwspool 1.2.3";
  facts.clients = 7;
  facts.max_clients = 1000;
  PoolFacts pool{.database = "sales", .user = "app", .pool_mode = "auto"};
  pool.clients = 5;
  pool.clients_waiting = 2;
  pool.backends_active = 3;
  facts.pools = {pool};
  facts.coordinators.resize(1);
  facts.coordinators[0].coordinator = "cn1:8000";
  facts.coordinators[0].state = "up";
  facts.coordinators[0].role = "primary";
  facts.coordinators[0].serving = "yes";
  facts.replay = {{"total", "", "", "refused", "masked", 4}};
  facts.pins = {{"sales", "app", "listens", 2}};
  const std::string text = status_json(facts, {.time_ms = 1234, .workers = 2});
  CHECK(
      text.starts_with(R"({"version":"dwspool 1.2.3","time_ms":1234,"state":"active","workers":2,)"
                       R"("silent_workers":[],"clients":7,"max_clients":1000,"pools":[{)"));
  CHECK(has(text, R"("database":"sales","user":"app","cl_active":3,"cl_waiting":2,)"));
  CHECK(has(text, R"("coordinator":"cn1:8000","state":"up",)"));
  CHECK(has(text, R"("role":"primary","serving":"yes"})"));
  CHECK(has(text, R"("failure":"refused","outcome":"masked","value":4})"));
  CHECK(text.ends_with(
      R"("pins":[{"database":"sales","user":"app","reason":"listens","sessions":2}]})"));
}

TEST_CASE("status: what is the matter, and who does not answer") {
  Facts facts;
  facts.paused = true;
  CHECK(has(status_json(facts, {}), R"("state":"paused")"));
  facts.suspended = true;
  CHECK(has(status_json(facts, {}), R"("state":"suspended")"));
  const std::string text = status_json(facts, {.draining = true, .silent = {0, 3}});
  CHECK(has(text, R"("state":"draining")"));
  CHECK(has(text, R"("silent_workers":[0,3],)"));
}

TEST_CASE("status: nobody's address, application or setting is in it") {
  Facts facts;
  facts.connections.resize(1);
  facts.connections[0].address = "10.9.8.7";
  facts.connections[0].application_name = "payroll";
  facts.settings = {{"logfile", "/var/log/x", "", false}};
  facts.users.resize(1);
  facts.users[0].name = "boss";
  const std::string text = status_json(facts, {});
  for (const char* secret : {"10.9.8.7", "payroll", "/var/log/x", "boss"}) {
    CHECK_FALSE(has(text, secret));
  }
}

TEST_CASE("status: bound sessions of several workers are added up") {
  Facts facts;
  Facts more;
  facts.pins = {{"sales", "app", "listens", 2}};
  more.pins = {{"sales", "app", "listens", 3}, {"sales", "app", "temporary", 1}};
  facts.merge(std::move(more));
  REQUIRE(facts.pins.size() == 2);
  CHECK(facts.pins[0].sessions == 5);
  CHECK(facts.pins[1].sessions == 1);
}

}  // namespace dwspool::console
