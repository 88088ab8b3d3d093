// The simulator's command line: many seeds on all cores, or one with its trace.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "sim/world.h"

namespace {

using namespace dwspool::sim;

constexpr std::size_t short_trace = 60;
constexpr std::uint64_t max_reported = 10;
// A defect that is not found in so many schedules is not found.
constexpr std::uint64_t patience = 20000;

struct Options {
  std::uint64_t first = 1;
  std::uint64_t count = 1000;
  std::optional<std::uint64_t> seed;
  Broken broken = Broken::nothing;
  bool all_broken = false;
  bool long_ones = false;
  unsigned jobs = std::max(1U, std::thread::hardware_concurrency());
};

int usage() {
  std::fputs(
      "usage: dwspool_sim [--seeds N] [--first S] [--jobs N] [--long] [--broken NAME]\n"
      "       dwspool_sim --seed S [--long] [--broken NAME]    one schedule, with its trace\n"
      "       dwspool_sim --all-broken                 every defect must be found\n"
      "defects:\n",
      stderr);
  for (const BrokenName& known : broken_names) {
    std::fprintf(stderr, "  %-26.*s %.*s\n", static_cast<int>(known.name.size()), known.name.data(),
                 static_cast<int>(known.what.size()), known.what.data());
  }
  return 2;
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Options> read_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--long") {
      options.long_ones = true;
      continue;
    }
    if (name == "--all-broken") {
      options.all_broken = true;
      continue;
    }
    if (++i >= argc) return std::nullopt;
    if (name == "--broken") {
      const auto which = broken_by_name(argv[i]);
      if (!which) return std::nullopt;
      options.broken = *which;
      continue;
    }
    const auto value = number(argv[i]);
    if (!value) return std::nullopt;
    if (name == "--seed") {
      options.seed = value;
    } else if (name == "--seeds") {
      options.count = *value;
    } else if (name == "--first") {
      options.first = *value;
    } else if (name == "--jobs") {
      options.jobs = static_cast<unsigned>(std::clamp<std::uint64_t>(*value, 1, 256));
    } else {
      return std::nullopt;
    }
  }
  return options;
}

void print_trace(const Outcome& outcome, std::size_t last) {
  const std::size_t skipped = outcome.trace.size() > last ? outcome.trace.size() - last : 0;
  if (skipped > 0) std::printf("    ... %zu lines, see --seed\n", skipped);
  for (std::size_t i = skipped; i < outcome.trace.size(); ++i) {
    std::printf("    %s\n", outcome.trace[i].c_str());
  }
}

int run_one(const Options& options) {
  const Outcome outcome = run_schedule({*options.seed, options.broken, options.long_ones}, true);
  print_trace(outcome, outcome.trace.size());
  if (outcome.violated) {
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(*options.seed),
                outcome.what.c_str());
  }
  std::printf("1 seed, %d violations\n", outcome.violated ? 1 : 0);
  return outcome.violated ? 1 : 0;
}

// What one process has found; goes through a pipe.
struct Tally {
  std::uint64_t seeds = 0;
  std::uint64_t violations = 0;
  std::uint64_t steps = 0;
};

Tally run_share(const Options& options, unsigned job) {
  Tally tally;
  for (std::uint64_t i = job; i < options.count; i += options.jobs) {
    const std::uint64_t seed = options.first + i;
    const Outcome outcome = run_schedule({seed, options.broken, options.long_ones}, false);
    ++tally.seeds;
    tally.steps += outcome.steps;
    if (!outcome.violated) continue;
    if (++tally.violations > max_reported) continue;
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), outcome.what.c_str());
    if (tally.violations == 1) {
      print_trace(run_schedule({seed, options.broken, options.long_ones}, true), short_trace);
    }
    std::fflush(stdout);
  }
  return tally;
}

int run_many(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<int> pipes;
  for (unsigned job = 0; job < options.jobs; ++job) {
    int ends[2];
    if (::pipe(ends) != 0) return 2;
    const pid_t child = ::fork();
    if (child < 0) return 2;
    if (child == 0) {
      ::close(ends[0]);
      const Tally tally = run_share(options, job);
      std::fflush(stdout);
      const bool told = ::write(ends[1], &tally, sizeof(tally)) == sizeof(tally);
      ::_exit(told ? 0 : 2);
    }
    ::close(ends[1]);
    pipes.push_back(ends[0]);
  }
  Tally total;
  bool died = false;
  for (const int end : pipes) {
    Tally tally;
    if (::read(end, &tally, sizeof(tally)) != sizeof(tally)) died = true;
    ::close(end);
    total.seeds += tally.seeds;
    total.violations += tally.violations;
    total.steps += tally.steps;
  }
  while (::wait(nullptr) > 0) {
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%llu steps, %.1f s, %.0f seeds/s\n", static_cast<unsigned long long>(total.steps),
              seconds, static_cast<double>(total.seeds) / std::max(seconds, 0.001));
  if (died) std::puts("a process of the simulator died");
  std::printf("%llu seeds, %llu violations\n", static_cast<unsigned long long>(total.seeds),
              static_cast<unsigned long long>(total.violations));
  return total.violations == 0 && !died ? 0 : 1;
}

int run_all_broken() {
  int missed = 0;
  for (const BrokenName& known : broken_names) {
    std::uint64_t seed = 1;
    std::uint64_t shown = 0;
    Outcome outcome;
    for (; seed <= patience; ++seed) {
      outcome = run_schedule({seed, known.which, false}, false);
      if (outcome.broken_times > 0) ++shown;
      // A violation that the defect had no part in proves nothing.
      if (outcome.violated && outcome.broken_times > 0) break;
    }
    const bool caught = seed <= patience;
    if (!caught) ++missed;
    std::printf(
        "%-26.*s %s\n", static_cast<int>(known.name.size()), known.name.data(),
        caught ? ("caught by seed " + std::to_string(seed) + ": " + outcome.what).c_str()
               : ("MISSED, though it showed in " + std::to_string(shown) + " schedules").c_str());
  }
  std::printf("%zu defects, %d missed\n", broken_names.size(), missed);
  return missed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::optional<Options> options = read_options(argc, argv);
  if (!options) return usage();
  if (options->all_broken) return run_all_broken();
  if (options->seed) return run_one(*options);
  return run_many(*options);
}
