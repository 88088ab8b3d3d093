#include "dwspool/metrics/exposition.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <thread>
#include <utility>

#include <doctest/doctest.h>

#include "dwspool/metrics/replay_numbers.h"

#include "exposition_reader.h"

namespace dwspool::metrics {
namespace {

using namespace std::chrono_literals;
using test::Exposition;
using test::LabelSet;

constexpr TimePoint noon{std::chrono::hours(12)};

ProcessFacts facts() {
  ProcessFacts facts;
  facts.version = "1.2.3";
  facts.start_time_seconds = 1763700000.25;
  facts.max_clients = 1000;
  facts.certificates = {{"clients", 1763800000}};
  return facts;
}

std::string text_of(const Registry& registry) {
  return render(registry, facts(), noon);
}
Exposition scrape(const Registry& registry) {
  return Exposition(text_of(registry));
}

LabelSet pool(const std::string& database, const std::string& user) {
  return {{"database", database}, {"user", user}};
}
LabelSet with(LabelSet labels, const std::string& name, const std::string& value) {
  labels[name] = value;
  return labels;
}

bool is_utf8(const std::string& text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t size = lead < 0x80   ? 1
                             : lead < 0xC2 ? 0
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF5 ? 4
                                           : 0;
    if (size == 0 || i + size > text.size()) return false;
    std::uint32_t code = size == 1 ? lead : lead & (0xFFU >> (size + 1));
    for (std::size_t j = 1; j < size; ++j) {
      const auto byte = static_cast<unsigned char>(text[i + j]);
      if ((byte & 0xC0U) != 0x80U) return false;
      code = code << 6U | (byte & 0x3FU);
    }
    constexpr std::array<std::uint32_t, 5> least = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[size] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
    i += size;
  }
  return true;
}

// For each histogram: buckets grow, the last one is the count.
void check_histograms(const Exposition& exposition) {
  for (const auto& [name, type] : exposition.types()) {
    if (type != "histogram") continue;
    for (const auto& [key, count] : exposition.samples()) {
      if (key.first != name + "_count") continue;
      CHECK(exposition.has(name + "_sum", key.second));
      std::map<double, double> buckets;
      for (const auto& [bucket, value] : exposition.samples()) {
        if (bucket.first != name + "_bucket") continue;
        LabelSet labels = bucket.second;
        const std::string bound = labels.at("le");
        labels.erase("le");
        if (labels == key.second) buckets[std::strtod(bound.c_str(), nullptr)] = value;
      }
      REQUIRE(buckets.size() == DurationHistogram::size);
      double before = 0;
      for (const auto& [bound, value] : buckets) {
        CHECK(value >= before);
        before = value;
      }
      CHECK(before == count);
    }
  }
}

// Something of everything that can be rendered.
void fill(Registry& registry) {
  for (std::size_t w = 0; w < 2; ++w) {
    const auto worker = registry.worker(w);
    worker->clients.set(3);
    worker->errors[WorkerBlock::error_index({'2', '2'})].add();
    worker->login_seconds.observe(3ms);
    worker->heartbeat.set(noon.time_since_epoch() / 1s);
    const auto pool = registry.pool(w, "sales", "app");
    pool->queries.add(5);
    pool->query_seconds.observe(7ms);
    pool->replay_samples[0].add();
    registry.coordinator(w, "dws", "cn1:8000")->opened.add();
  }
  registry.coordinator(0, "dws", "cn1:8000")->probes.add();
  registry.pool(0, "we\"ird\\\n\xff", "\xC3\xA9l\xC3\xA8ve");
}

TEST_CASE("metrics exposition: an empty registry renders the facts of the process") {
  const Registry registry;
  const Exposition seen = scrape(registry);
  CHECK(seen.value("dwspool_build_info", {{"version", "1.2.3"}}) == 1);
  CHECK(seen.value("dwspool_start_time_seconds") == 1763700000.25);
  CHECK(seen.value("dwspool_max_clients") == 1000);
  CHECK(seen.value("dwspool_draining") == 0);
  CHECK(seen.value("dwspool_workers") == 0);
  CHECK(seen.value("dwspool_clients") == 0);
  CHECK(seen.types().count("dwspool_queries_total") == 0);
  CHECK(seen.types().count("dwspool_errors_total") == 0);

  ProcessFacts draining = facts();
  draining.draining = true;
  CHECK(Exposition(render(registry, draining, noon)).value("dwspool_draining") == 1);
}

TEST_CASE("metrics exposition: names and types follow the rules") {
  Registry registry;
  fill(registry);
  const Exposition seen = scrape(registry);
  for (const auto& family : seen.types()) {
    const std::string& name = family.first;
    const std::string& type = family.second;
    CAPTURE(name);
    CHECK(name.rfind("dwspool_", 0) == 0);
    const bool total = name.size() > 6 && name.compare(name.size() - 6, 6, "_total") == 0;
    CHECK(total == (type == "counter"));
    if (type == "histogram") CHECK(name.find("_duration_seconds") != std::string::npos);
  }
}

TEST_CASE("metrics exposition: workers are added up, once each") {
  Registry registry;
  for (std::size_t w = 0; w < 3; ++w) {
    const auto worker = registry.worker(w);
    worker->clients.set(static_cast<std::int64_t>(w) + 1);
    worker->connections_accepted.add(10);
    worker->refusals[static_cast<std::size_t>(Refusal::password)].add(w);
    worker->open_failures[static_cast<std::size_t>(OpenFailure::timeout)].add(2);
    worker->pins[3].add(1);
    worker->login_seconds.observe(3ms);
    const auto block = registry.pool(w, "sales", "app");
    block->queries.add(100);
    block->clients_waiting.set(2);
    block->backends_lent.add(4);
    block->query_seconds.observe(30s);
    const auto coordinator = registry.coordinator(w, "dws", "cn1:8000");
    coordinator->opened.add(2);
    coordinator->connections.add(1);
  }
  const Exposition seen = scrape(registry);
  CHECK(seen.value("dwspool_workers") == 3);
  CHECK(seen.value("dwspool_clients") == 6);
  CHECK(seen.value("dwspool_client_connections_total") == 30);
  CHECK(seen.value("dwspool_client_refusals_total", {{"reason", "password"}}) == 3);
  CHECK(seen.value("dwspool_client_refusals_total", {{"reason", "shutdown"}}) == 0);
  CHECK(seen.value("dwspool_backend_open_failures_total", {{"reason", "timeout"}}) == 6);
  CHECK(seen.value("dwspool_session_pins_total", {{"reason", "advisory_lock"}}) == 3);
  CHECK(seen.value("dwspool_client_login_duration_seconds_count") == 3);
  const LabelSet labels = pool("sales", "app");
  CHECK(seen.value("dwspool_queries_total", labels) == 300);
  CHECK(seen.value("dwspool_pool_clients", with(labels, "state", "waiting")) == 6);
  CHECK(seen.value("dwspool_pool_clients", with(labels, "state", "idle")) == 0);
  CHECK(seen.value("dwspool_pool_backends", with(labels, "state", "lent")) == 12);
  CHECK(seen.value("dwspool_query_duration_seconds_count", labels) == 3);
  CHECK(seen.value("dwspool_query_duration_seconds_sum", labels) == doctest::Approx(90));
  CHECK(seen.value("dwspool_query_duration_seconds_bucket", with(labels, "le", "10")) == 0);
  CHECK(seen.value("dwspool_query_duration_seconds_bucket", with(labels, "le", "60")) == 3);
  const LabelSet coordinator = {{"cluster", "dws"}, {"coordinator", "cn1:8000"}};
  CHECK(seen.value("dwspool_coordinator_connections_opened_total", coordinator) == 6);
  CHECK(seen.value("dwspool_coordinator_connections", coordinator) == 3);
  check_histograms(seen);
}

TEST_CASE("metrics exposition: replay, and the share of what is protected") {
  Registry registry;
  for (std::size_t w = 0; w < 2; ++w) {
    const auto worker = registry.worker(w);
    worker->replays[2][0].add(3);
    worker->replay_refusals[5].add();
    worker->replay_unprotected[9].add(2);
    const auto block = registry.pool(w, "sales", "app");
    block->replay_samples[0].add(3);
    block->replay_samples[13].add(1);
    block->replay_log_bytes.set(100);
    block->replay_waiting.set(3);
    block->replay_seconds.observe(20s);
  }
  registry.pool(0, "sales", "nobody");
  const Exposition seen = scrape(registry);
  const auto replays = [&](const std::string& failure, const std::string& result) {
    return seen.value("dwspool_replay_total", {{"failure", failure}, {"result", result}});
  };
  CHECK(replays("refused", "masked") == 6);
  CHECK(replays("in_doubt", "deadline") == 0);
  CHECK(seen.value("dwspool_replay_refused_total", {{"reason", "commit"}}) == 2);
  CHECK(seen.value("dwspool_replay_unprotected_total", {{"reason", "too_big"}}) == 4);
  CHECK_FALSE(seen.has("dwspool_replay_refused_total", {{"reason", "none"}}));
  const LabelSet labels = pool("sales", "app");
  CHECK(seen.value("dwspool_replay_log_bytes", labels) == 200);
  CHECK(seen.value("dwspool_replay_waiting", labels) == 6);
  CHECK(seen.value("dwspool_replay_duration_seconds_count", labels) == 2);
  CHECK(seen.value("dwspool_replay_sampled_total", with(labels, "outcome", "protected")) == 6);
  CHECK(seen.value("dwspool_replay_sampled_total", with(labels, "outcome", "pinned")) == 2);
  CHECK_FALSE(seen.has("dwspool_replay_sampled_total", with(labels, "outcome", "copy")));
  CHECK(seen.value("dwspool_replay_protected_ratio", labels) == 0.75);
  CHECK_FALSE(seen.has("dwspool_replay_protected_ratio", pool("sales", "nobody")));
}

TEST_CASE("metrics exposition: the rows of SHOW REPLAY are the same numbers") {
  Registry registry;
  const auto worker = registry.worker(0);
  worker->replays[2][0].add(3);
  worker->replay_refusals[5].add();
  const auto block = registry.pool(0, "sales", "app");
  block->replay_samples[0].add(3);
  block->replay_samples[13].add(1);
  block->replay_seconds.observe(1500ms);
  std::map<std::string, double> rows;
  for (const ReplayNumber& row : replay_numbers(registry)) {
    rows[row.name + '|' + row.database + '|' + row.user + '|' + row.failure + '|' + row.outcome] =
        row.value;
  }
  const std::map<std::string, double> expected = {{"total|||refused|masked", 3},
                                                  {"refused_total||||commit", 1},
                                                  {"sampled_total|sales|app||protected", 3},
                                                  {"sampled_total|sales|app||pinned", 1},
                                                  {"protected_ratio|sales|app||", 0.75},
                                                  {"duration_seconds_count|sales|app||", 1},
                                                  {"duration_seconds_sum|sales|app||", 1.5},
                                                  {"log_bytes|sales|app||", 0},
                                                  {"waiting|sales|app||", 0}};
  CHECK(rows == expected);
}

TEST_CASE("metrics exposition: the names of PgBouncer's exporter, when they are asked for") {
  Registry registry;
  registry.worker(0)->clients.set(7);
  for (const char* user : {"app", "other"}) {
    const auto block = registry.pool(0, "sales", user);
    block->queries.add(10);
    block->statements_parsed.add(1);
    block->statements_reused.add(2);
    block->query_seconds.observe(500ms);
    block->clients_idle.set(2);
    block->clients_active.set(1);
    block->backends_lent.set(1);
    block->backends_idle.set(3);
  }
  ProcessFacts with_names = facts();
  CHECK_FALSE(Exposition(render(registry, with_names, noon)).has("pgbouncer_up", {}));
  with_names.pgbouncer_names = true;
  with_names.databases = {{"sales", "cn1,cn2", 8000, "sales", "", "auto", 20, 5, true, false},
                          {"quiet", "cn1", 8000, "quiet", "", "auto", 20, 5, false, false}};
  const Exposition seen(render(registry, with_names, noon));
  const LabelSet sales = {{"database", "sales"}};
  CHECK(seen.value("pgbouncer_stats_totals_queries_pooled_total", sales) == 20);
  CHECK(seen.value("pgbouncer_stats_totals_queries_duration_seconds_total", sales) == 1);
  CHECK(seen.value("pgbouncer_stats_totals_client_parses_total", sales) == 6);
  CHECK(seen.value("pgbouncer_pools_client_active_connections", pool("sales", "app")) == 3);
  CHECK(seen.value("pgbouncer_pools_server_idle_connections", pool("sales", "other")) == 3);
  CHECK(seen.value("pgbouncer_used_clients", {}) == 6);
  CHECK(seen.value("pgbouncer_login_clients", {}) == 1);
  CHECK(seen.value("pgbouncer_free_clients", {}) == 993);
  const LabelSet limits = {{"name", "sales"},     {"host", "cn1,cn2"}, {"port", "8000"},
                           {"database", "sales"}, {"force_user", ""},  {"pool_mode", "auto"}};
  CHECK(seen.value("pgbouncer_databases_pool_size", limits) == 20);
  CHECK(seen.value("pgbouncer_databases_paused", limits) == 1);
  CHECK(seen.value("pgbouncer_databases_current_connections", limits) == 8);
}

TEST_CASE("metrics exposition: bounds and large numbers are written exactly") {
  Registry registry;
  const auto block = registry.pool(0, "d", "u");
  block->bytes_to_clients.add(9007199254740991);
  block->wait_seconds.observe(100us);  // on the bound: belongs to the bucket
  block->wait_seconds.observe(100us + 1ns);
  block->wait_seconds.observe(61s);
  block->wait_seconds.observe(-1s);  // the clock's fault; no time at all
  const Exposition seen = scrape(registry);
  const LabelSet labels = pool("d", "u");
  CHECK(seen.value("dwspool_client_sent_bytes_total", labels) == 9007199254740991.0);
  const std::string name = "dwspool_client_wait_duration_seconds";
  CHECK(seen.value(name + "_bucket", with(labels, "le", "0.0001")) == 2);
  CHECK(seen.value(name + "_bucket", with(labels, "le", "0.00025")) == 3);
  CHECK(seen.value(name + "_bucket", with(labels, "le", "60")) == 3);
  CHECK(seen.value(name + "_bucket", with(labels, "le", "+Inf")) == 4);
  CHECK(seen.value(name + "_sum", labels) == doctest::Approx(61.0002));
  check_histograms(seen);
}

TEST_CASE("metrics exposition: only error classes that occurred") {
  Registry registry;
  registry.worker(0)->errors[WorkerBlock::error_index({'2', '2'})].add(2);
  registry.worker(1)->errors[WorkerBlock::error_index({'2', '2'})].add(3);
  registry.worker(1)->errors[WorkerBlock::error_index({'P', '0'})].add(1);
  registry.worker(1)->errors[WorkerBlock::error_index({'\n', '"'})].add(1);
  const Exposition seen = scrape(registry);
  std::map<std::string, double> classes;
  for (const auto& [key, value] : seen.samples()) {
    if (key.first == "dwspool_errors_total") classes[key.second.at("class")] = value;
  }
  CHECK(classes == std::map<std::string, double>{{"22", 5}, {"P0", 1}, {"invalid", 1}});
}

TEST_CASE("metrics exposition: the longest wait of all workers counts") {
  Registry registry;
  const auto since = [](Duration ago) { return (noon - ago).time_since_epoch().count(); };
  registry.pool(0, "d", "u")->oldest_wait_since.set(since(1500ms));
  registry.pool(1, "d", "u")->oldest_wait_since.set(since(250ms));
  registry.pool(2, "d", "u")->oldest_wait_since.set(0);
  registry.pool(0, "d", "nobody");
  registry.pool(0, "d", "just now")->oldest_wait_since.set(since(-3s));
  const Exposition seen = scrape(registry);
  const std::string name = "dwspool_client_wait_oldest_seconds";
  CHECK(seen.value(name, pool("d", "u")) == doctest::Approx(1.5));
  CHECK(seen.value(name, pool("d", "nobody")) == 0);
  CHECK(seen.value(name, pool("d", "just now")) == 0);
}

TEST_CASE("metrics exposition: the slowest worker's heartbeat counts") {
  Registry registry;
  const auto beat = [](Duration ago) { return (noon - ago).time_since_epoch() / 1s; };
  registry.worker(0)->heartbeat.set(beat(1s));
  registry.worker(1)->heartbeat.set(beat(40s));
  registry.worker(2);  // has not turned yet
  CHECK(scrape(registry).value("dwspool_worker_heartbeat_age_seconds") == 40);
}

TEST_CASE("metrics exposition: what probes have found") {
  Registry registry;
  const LabelSet labels = {{"cluster", "pg"}, {"coordinator", "a:5432"}};
  const auto probed = registry.coordinator(0, "pg", "a:5432");
  const auto other = registry.coordinator(1, "pg", "a:5432");
  other->opened.add();
  other->up.set(1);
  CHECK_FALSE(scrape(registry).has("dwspool_coordinator_serving", labels));
  probed->probes.add(3);
  probed->probe_failures.add(1);
  probed->role.set(2);
  probed->serving.set(1);
  const Exposition seen = scrape(registry);
  CHECK(seen.value("dwspool_coordinator_probes_total", labels) == 3);
  CHECK(seen.value("dwspool_coordinator_probe_failures_total", labels) == 1);
  CHECK(seen.value("dwspool_coordinator_serving", labels) == 1);
  CHECK(seen.value("dwspool_coordinator_up", labels) == 0);  // newer than a worker's success
  LabelSet role = labels;
  role["role"] = "standby";
  CHECK(seen.value("dwspool_coordinator_role", role) == 1);
  role["role"] = "primary";
  CHECK(seen.value("dwspool_coordinator_role", role) == 0);
}

TEST_CASE("metrics exposition: a coordinator is up when a worker reached it last time") {
  Registry registry;
  const LabelSet labels = {{"cluster", "dws"}, {"coordinator", "cn1:8000"}};
  const auto first = registry.coordinator(0, "dws", "cn1:8000");
  const auto second = registry.coordinator(1, "dws", "cn1:8000");
  CHECK_FALSE(scrape(registry).has("dwspool_coordinator_up", labels));
  first->failed.add();
  CHECK(scrape(registry).value("dwspool_coordinator_up", labels) == 0);
  second->opened.add();
  second->up.set(1);
  CHECK(scrape(registry).value("dwspool_coordinator_up", labels) == 1);
  first->opened.add();
  first->up.set(1);
  CHECK(scrape(registry).value("dwspool_coordinator_up", labels) == 1);
}

TEST_CASE("metrics exposition: hostile names stay label values") {
  Registry registry;
  const std::string tricky = "a\"} 1\nb\\n\\\"{x=\"y\"},\t\r";
  registry.pool(0, tricky, "\\")->queries.add(7);
  registry.coordinator(0, "\n", "\"")->opened.add();
  const Exposition seen = scrape(registry);
  CHECK(seen.value("dwspool_queries_total", pool(tricky, "\\")) == 7);
  CHECK(seen.value("dwspool_coordinator_connections_opened_total",
                   {{"cluster", "\n"}, {"coordinator", "\""}}) == 1);
}

TEST_CASE("metrics exposition: every byte of a name comes out as valid UTF-8") {
  const std::string mark = "\xEF\xBF\xBD";
  const std::vector<std::pair<std::string, std::string>> names = {
      {"", ""},
      {"\xC3\xA9\xE6\x95\xB0\xF0\x9F\x90\x98", "\xC3\xA9\xE6\x95\xB0\xF0\x9F\x90\x98"},
      {"a\xFFz", "a" + mark + "z"},
      {"\x80", mark},  // continuation alone
      {"\xC3", mark},  // cut short
      {"\xE6\x95", mark + mark},
      {"\xC0\xAF", mark + mark},  // overlong
      {"\xE0\x80\xAF", mark + mark + mark},
      {"\xF0\x80\x80\xAF", mark + mark + mark + mark},
      {"\xED\xA0\x80", mark + mark + mark},             // surrogate
      {"\xF4\x90\x80\x80", mark + mark + mark + mark},  // beyond U+10FFFF
      {"\xF5\x80\x80\x80", mark + mark + mark + mark},
      {"\xEE\x80\x80\xED\x9F\xBF\xF4\x8F\xBF\xBF", "\xEE\x80\x80\xED\x9F\xBF\xF4\x8F\xBF\xBF"},
      {std::string("a\0b", 3), "a" + mark + "b"},
      {"\xC3\"", mark + "\""},  // must not swallow the quote
  };
  for (const auto& [raw, expected] : names) {
    Registry registry;
    registry.pool(0, raw, "u")->queries.add(1);
    const std::string text = text_of(registry);
    CHECK(is_utf8(text));
    CHECK(Exposition(text).has("dwspool_queries_total", pool(expected, "u")));
  }
  for (unsigned high = 0; high < 256; ++high) {
    Registry registry;
    std::string name = "xxxx";
    for (unsigned low = 0; low < 256; low += 5) {
      name[1] = static_cast<char>(high);
      name[2] = static_cast<char>(low);
      registry.coordinator(0, name, "c");
    }
    const std::string text = text_of(registry);
    CHECK(is_utf8(text));
    const Exposition seen(text);
  }
}

TEST_CASE("metrics exposition: names that come out equal share a time series") {
  Registry registry;
  registry.pool(0, "a\xFE", "u")->queries.add(1);
  registry.pool(0, "a\xFF", "u")->queries.add(2);
  registry.pool(1, "a\xFF", "u")->query_seconds.observe(1s);
  registry.coordinator(0, "c", "\xFE")->opened.add(1);
  registry.coordinator(0, "c", "\xFF")->opened.add(2);
  const Exposition seen = scrape(registry);  // checks that no series comes twice
  CHECK(seen.value("dwspool_queries_total", pool("a\xEF\xBF\xBD", "u")) == 3);
  check_histograms(seen);
}

TEST_CASE("metrics exposition: long names are cut between characters") {
  Registry registry;
  std::string name;
  for (int i = 0; i < 4000; ++i) name += "\xE6\x95\xB0";
  registry.pool(0, name, "u")->queries.add(1);
  registry.pool(0, name + "x", "u")->queries.add(1);
  registry.pool(0, std::string(63, '\xFF'), "u")->queries.add(1);  // as long as a server's may be
  const std::string text = text_of(registry);
  CHECK(is_utf8(text));
  CHECK(text.size() < 100'000);
  const Exposition seen(text);
  CHECK(seen.value("dwspool_queries_total", pool(name.substr(0, 255) + "...", "u")) == 2);
}

TEST_CASE("metrics exposition: numbers stay monotonic when pools overflow") {
  Registry registry;
  double before = 0;
  for (std::size_t i = 0; i < Registry::max_pools + 50; ++i) {
    registry.pool(i % 2, "db", "user" + std::to_string(i))->queries.add(1);
    if (i % 25 != 0) continue;
    const Exposition seen = scrape(registry);
    double total = 0;
    for (const auto& [key, value] : seen.samples()) {
      if (key.first == "dwspool_queries_total") total += value;
    }
    CHECK(total == before + (i == 0 ? 1 : 25));
    before = total;
  }
  // Early pools go on under their own names, late ones under "other".
  registry.pool(0, "db", "user0")->queries.add(1);
  registry.pool(0, "db", "user230")->queries.add(1);
  const Exposition seen = scrape(registry);
  CHECK(seen.value("dwspool_queries_total", pool("db", "user0")) == 2);
  CHECK(seen.value("dwspool_queries_total", pool("other", "other")) == 51);
  CHECK_FALSE(seen.has("dwspool_queries_total", pool("db", "user230")));
}

TEST_CASE("metrics exposition: a scrape while a worker writes is consistent and never goes back") {
  Registry registry;
  std::atomic<bool> stop{false};
  std::atomic<bool> running{false};
  std::thread writer([&] {
    const auto block = registry.pool(0, "d", "u");
    const auto worker = registry.worker(0);
    for (int i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      block->query_seconds.observe(Duration(std::int64_t{1} << (i % 37)));
      block->queries.add();
      worker->login_seconds.observe(Duration(i));
      worker->clients.set(i % 7);
      if (i % 1000 == 0) {
        registry.pool(0, "d", "u" + std::to_string(i % 5000))->queries.add();
        registry.coordinator(0, "c", std::to_string(i % 9))->opened.add();
      }
      running.store(true, std::memory_order_relaxed);
    }
  });
  while (!running.load(std::memory_order_relaxed)) std::this_thread::yield();
  std::map<std::pair<std::string, LabelSet>, double> before;
  for (int i = 0; i < 20; ++i) {
    const Exposition seen = scrape(registry);
    check_histograms(seen);
    for (const auto& [key, value] : before) {
      const auto type = seen.types().find(key.first);
      const bool gauge = type != seen.types().end() && type->second == "gauge";
      if (!gauge) CHECK(seen.value(key.first, key.second) >= value);
    }
    before = seen.samples();
  }
  stop = true;
  writer.join();
}

// promtool_test.sh and metrics_doc_test.py look at what this writes.
TEST_CASE("metrics exposition: the whole of it is written to DWSPOOL_EXPOSITION_FILE") {
  Registry registry;
  fill(registry);
  const std::string text = text_of(registry);
  const Exposition seen(text);
  const char* file = std::getenv("DWSPOOL_EXPOSITION_FILE");
  if (file == nullptr) return;
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  CHECK(out.good());
}

}  // namespace
}  // namespace dwspool::metrics
