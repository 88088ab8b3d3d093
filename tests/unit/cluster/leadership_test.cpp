#include "dwspool/cluster/leadership.h"

#include <doctest/doctest.h>

namespace dwspool::cluster {
namespace {

using std::chrono::milliseconds;

// A clock that goes on by itself: every probe takes a millisecond.
struct Watch {
  explicit Watch(std::size_t hosts) {
    for (std::size_t i = 0; i < hosts; ++i) leadership.add_host();
  }
  void says(HostId host, bool in_recovery, std::uint32_t timeline, std::uint64_t system = 7,
            bool writable = true) {
    const TimePoint begun = now;
    now += milliseconds(1);
    leadership.on_answer(host, {in_recovery, writable, system, timeline}, begun, now);
  }
  void primary(HostId host, std::uint32_t timeline) { says(host, false, timeline); }
  void standby(HostId host, std::uint32_t timeline = 0) { says(host, true, timeline); }
  void silent(HostId host) {
    now += milliseconds(1);
    leadership.on_silence(host, now);
  }
  bool leads(HostId host) const { return leadership.is_leader(host); }

  Leadership leadership;
  TimePoint now{std::chrono::seconds(100)};
};

using Hosts = std::vector<HostId>;

}  // namespace

TEST_CASE("nobody is the primary before all others were looked at after the claim") {
  Watch watch(3);
  watch.standby(1);
  watch.primary(0, 1);
  CHECK_FALSE(watch.leads(0));
  CHECK(watch.leadership.is_awaited(1));
  CHECK_FALSE(watch.leadership.is_awaited(0));
  watch.standby(2);
  CHECK_FALSE(watch.leads(0));  // 1 was looked at before
  watch.standby(1);
  CHECK(watch.leads(0));
  CHECK_FALSE(watch.leadership.is_awaited(1));
  CHECK(watch.leadership.take_dropped().empty());
}

TEST_CASE("a host that does not answer holds nobody up") {
  Watch watch(2);
  watch.primary(0, 1);
  CHECK_FALSE(watch.leads(0));
  watch.silent(1);
  CHECK(watch.leads(0));
}

TEST_CASE("a single host needs nobody's confirmation") {
  Watch watch(1);
  watch.primary(0, 3);
  CHECK(watch.leads(0));
}

TEST_CASE("a promoted standby leads at once, and the former primary's connections go") {
  Watch watch(2);
  watch.standby(1);
  watch.primary(0, 1);
  watch.standby(1);
  REQUIRE(watch.leads(0));
  watch.silent(0);
  CHECK_FALSE(watch.leads(0));
  CHECK(watch.leadership.is_doubted(0));
  watch.standby(1);
  CHECK_FALSE(watch.leadership.has_leader());
  watch.primary(1, 2);
  CHECK(watch.leads(1));
  CHECK(watch.leadership.take_dropped() == Hosts{0});
  // It comes back and knows of nothing.
  watch.primary(0, 1);
  CHECK_FALSE(watch.leads(0));
  CHECK(watch.leadership.is_fenced(0));
  CHECK(watch.leads(1));
  watch.silent(1);
  watch.primary(0, 1);
  CHECK_FALSE(watch.leadership.has_leader());
  // Rewound.
  watch.standby(0);
  CHECK_FALSE(watch.leadership.is_fenced(0));
}

TEST_CASE("a primary that lives on unfenced is found out when the other answers") {
  Watch watch(2);
  watch.standby(1);
  watch.primary(0, 1);
  watch.standby(1);
  watch.primary(1, 2);
  CHECK(watch.leads(1));
  CHECK_FALSE(watch.leads(0));
  CHECK(watch.leadership.is_fenced(0));
}

TEST_CASE("a frozen primary that thaws must wait until the others were looked at") {
  Watch watch(2);
  watch.standby(1);
  watch.primary(0, 1);
  watch.standby(1);
  watch.silent(0);
  watch.standby(1);
  watch.primary(0, 1);
  CHECK_FALSE(watch.leads(0));  // 1 may have been promoted since
  SUBCASE("it was not") {
    watch.standby(1);
    CHECK(watch.leads(0));
    CHECK(watch.leadership.take_dropped().empty());  // nothing has happened
  }
  SUBCASE("it was") {
    watch.primary(1, 2);
    CHECK(watch.leads(1));
    CHECK(watch.leadership.is_fenced(0));
    CHECK_FALSE(watch.leadership.take_dropped().empty());
  }
}

TEST_CASE("at the start the newest timeline wins, whoever answers first") {
  Watch watch(2);
  watch.primary(0, 4);
  watch.primary(1, 5);
  CHECK(watch.leads(1));
  CHECK(watch.leadership.is_fenced(0));
}

TEST_CASE("a primary that becomes a standby is dropped; one that becomes read-only is not") {
  Watch watch(2);
  watch.standby(1);
  watch.primary(0, 1);
  watch.standby(1);
  SUBCASE("standby") {
    watch.standby(0);
    CHECK(watch.leadership.take_dropped() == Hosts{0});
  }
  SUBCASE("read-only") {
    watch.says(0, false, 1, 7, false);
    CHECK(watch.leadership.take_dropped().empty());
  }
  CHECK_FALSE(watch.leadership.has_leader());
}

TEST_CASE("of two primaries on one timeline the leader stays") {
  Watch watch(2);
  watch.primary(0, 2);
  watch.silent(1);
  REQUIRE(watch.leads(0));
  watch.primary(1, 2);
  watch.primary(0, 2);
  watch.primary(1, 2);
  CHECK(watch.leads(0));
  CHECK_FALSE(watch.leads(1));
}

TEST_CASE("two addresses of one server lead together") {
  Leadership leadership;
  leadership.add_host();
  leadership.add_host();
  TimePoint now{std::chrono::seconds(1)};
  const auto sees = [&](HostId host, bool in_recovery) {
    leadership.on_answer(host, {in_recovery, true, 7, 1, 99}, now, now + milliseconds(1));
    now += milliseconds(2);
  };
  sees(0, false);
  sees(1, false);
  CHECK(leadership.is_leader(0));
  CHECK(leadership.is_leader(1));
  sees(0, true);  // it was restarted as a standby
  CHECK(leadership.take_dropped() == Hosts{0, 1});
}

TEST_CASE("servers that do not belong together lead each by itself") {
  Watch watch(2);
  watch.says(0, false, 1, 7);
  watch.says(1, false, 9, 8);
  watch.says(0, false, 1, 7);
  watch.says(1, false, 9, 8);
  CHECK(watch.leads(0));
  CHECK(watch.leads(1));
}

TEST_CASE("a host that is removed neither leads nor is waited for") {
  Watch watch(2);
  watch.primary(0, 1);
  watch.leadership.remove_host(1);
  watch.primary(0, 1);
  CHECK(watch.leads(0));
  watch.leadership.remove_host(0);
  CHECK_FALSE(watch.leadership.has_leader());
}

}  // namespace dwspool::cluster
