// Facts of several workers, and what is shown of them.
#include "dwspool/console/show.h"

#include <algorithm>
#include <string>

#include <doctest/doctest.h>

namespace dwspool::console {
namespace {

std::string cell(const Table& table, std::size_t row, std::string_view column) {
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (table.columns[i].name == column) return table.rows.at(row).at(i).value_or("NULL");
  }
  FAIL("no column " << column);
  return {};
}

TEST_CASE("the same pool on two workers is one") {
  PoolFacts one{.database = "sales", .user = "app", .pool_mode = "auto"};
  one.clients = 5;
  one.clients_waiting = 2;
  one.backends_active = 3;
  one.longest_wait_us = 1500000;
  PoolFacts two = one;
  two.longest_wait_us = 2700001;
  Facts facts;
  Facts more;
  facts.pools = {one};
  more.pools = {two, {.database = "sales", .user = "other", .pool_mode = "auto"}};
  facts.merge(std::move(more));
  const Table table = show(Show::pools, facts);
  REQUIRE(table.rows.size() == 3);  // and the console's own
  CHECK(cell(table, 0, "cl_active") == "6");
  CHECK(cell(table, 0, "cl_waiting") == "4");
  CHECK(cell(table, 0, "sv_active") == "6");
  CHECK(cell(table, 0, "maxwait") == "2");
  CHECK(cell(table, 0, "maxwait_us") == "700001");
  CHECK(cell(table, 2, "database") == "pgbouncer");
}

TEST_CASE("every row has as many values as there are columns") {
  Facts facts;
  facts.connections.resize(2);
  facts.connections[1].is_client = false;
  facts.connections[0].pins = {"listens"};
  facts.pools.resize(1);
  facts.databases.resize(1);
  facts.users.resize(1);
  facts.stats.resize(1);
  facts.coordinators.resize(1);
  facts.settings.resize(1);
  facts.memory.resize(1);
  facts.replay.resize(1);
  for (int i = 0; i <= static_cast<int>(Show::databases_with_old); ++i) {
    const Table table = show(static_cast<Show>(i), facts);
    for (const Row& row : table.rows) CHECK(row.size() == table.columns.size());
  }
}

TEST_CASE("numbers of replay are whole or decimal, never in exponents") {
  Facts facts;
  facts.replay = {{"total", "", "", "refused", "masked", 1e12},
                  {"protected_ratio", "sales", "app", "", "", 0.75}};
  const Table table = show(Show::replay, facts);
  CHECK(cell(table, 0, "value") == "1000000000000");
  CHECK(cell(table, 1, "value") == "0.750000");
}

TEST_CASE("old columns come behind the others, with what they are called now") {
  Facts facts;
  facts.stats.resize(1);
  facts.stats[0].totals[static_cast<std::size_t>(Stat::queries)] = 42;
  facts.databases.resize(1);
  facts.databases[0].reserve_pool_size = 5;
  CHECK(cell(show(Show::stats_with_old, facts), 0, "total_requests") == "42");
  CHECK(cell(show(Show::databases_with_old, facts), 0, "reserve_pool") == "5");
  CHECK(columns_of(Show::stats).back().name == "avg_client_login_count");
}

TEST_CASE("times and names of connections") {
  ConnectionFacts facts;
  facts.connected_at = 1767225599123456;  // 2025-12-31 23:59:59.123456
  facts.waits_us = 61000002;
  facts.pointer = 0x10000000001;
  Facts all;
  all.connections = {facts};
  const Table table = show(Show::clients, all);
  CHECK(cell(table, 0, "connect_time") == "2025-12-31 23:59:59 UTC");
  CHECK(cell(table, 0, "wait") == "61");
  CHECK(cell(table, 0, "wait_us") == "2");
  CHECK(cell(table, 0, "ptr") == "0x10000000001");
  CHECK(cell(table, 0, "link").empty());
  CHECK(show(Show::servers, all).rows.empty());
  CHECK(cell(show(Show::sockets, all), 0, "state") == "cl_");
}

TEST_CASE("averages: per second, and per query where it is a time") {
  Stats before{};
  Stats now{};
  const auto at = [](Stats& stats, Stat stat) -> std::uint64_t& {
    return stats[static_cast<std::size_t>(stat)];
  };
  at(before, Stat::queries) = 100;
  at(now, Stat::queries) = 700;
  at(now, Stat::query_time) = 1200;
  at(now, Stat::transactions) = 0;
  at(now, Stat::transaction_time) = 50;
  at(now, Stat::wait_time) = 6000000;
  const Stats averages = averages_of(before, now, 60000000);
  CHECK(averages[static_cast<std::size_t>(Stat::queries)] == 10);
  CHECK(averages[static_cast<std::size_t>(Stat::query_time)] == 2);
  CHECK(averages[static_cast<std::size_t>(Stat::transaction_time)] == 0);
  CHECK(averages[static_cast<std::size_t>(Stat::wait_time)] == 100000);
  CHECK(averages_of(before, now, 0) == Stats{});
  // A pool that has gone does not make it negative.
  CHECK(averages_of(now, before, 60000000) == Stats{});
}

TEST_CASE("the other instances") {
  Facts facts;
  CHECK(show(Show::peers, facts).rows.empty());
  facts.peers = {{7, "dwspool-b", 6432}, {2, "::1", 6433}};
  const Table table = show(Show::peers, facts);
  REQUIRE(table.rows.size() == 2);
  CHECK(cell(table, 0, "peer_id") == "7");
  CHECK(cell(table, 1, "host") == "::1");
  CHECK(cell(table, 1, "port") == "6433");
}

TEST_CASE("the state of the whole") {
  Facts facts;
  CHECK(cell(show(Show::state, facts), 0, "value") == "yes");
  facts.paused = true;
  CHECK(cell(show(Show::state, facts), 0, "value") == "no");
  CHECK(cell(show(Show::state, facts), 1, "value") == "yes");
}

}  // namespace
}  // namespace dwspool::console
