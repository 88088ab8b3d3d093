// What a backend still owes.
#include "dwspool/session/reply_tracker.h"

#include <doctest/doctest.h>

namespace dwspool::session {
namespace {

std::size_t drop(ReplyTracker& replies) {
  std::size_t dropped = 0;
  replies.on_error([&](const Reply&) { ++dropped; });
  return dropped;
}

}  // namespace

TEST_CASE("replies: every request is answered by one ReadyForQuery") {
  ReplyTracker replies;
  CHECK(replies.quiet());
  replies.push({.kind = ReplyKind::query});
  replies.push({.kind = ReplyKind::sync});
  replies.push({.kind = ReplyKind::query, .own = true});
  CHECK(replies.requests_owed() == 2);
  CHECK(replies.on_ready());
  CHECK(replies.on_ready());
  CHECK(replies.requests_done() == 2);
  CHECK_FALSE(replies.quiet());
  CHECK(replies.head_is_own());
  CHECK(replies.on_ready());
  CHECK(replies.quiet());
  CHECK_FALSE(replies.on_ready());  // nobody has asked
}

TEST_CASE("replies: ReadyForQuery in the place of another answer is out of step") {
  ReplyTracker replies;
  replies.push({.kind = ReplyKind::parse});
  replies.push({.kind = ReplyKind::sync});
  CHECK_FALSE(replies.on_ready());
}

TEST_CASE("replies: a batch without a Sync keeps the backend") {
  ReplyTracker replies;
  replies.push({.kind = ReplyKind::parse});
  CHECK(replies.unsynced());
  CHECK(replies.pop_if(ReplyKind::parse));
  CHECK_FALSE(replies.quiet());
  replies.push({.kind = ReplyKind::sync});
  CHECK_FALSE(replies.unsynced());
  CHECK(replies.on_ready());
  CHECK(replies.quiet());
}

TEST_CASE("replies: an error drops what was sent up to the Sync, and what comes before one") {
  ReplyTracker replies;
  replies.push({.kind = ReplyKind::parse});
  replies.push({.kind = ReplyKind::query});  // skipped as well, being in front of the Sync
  replies.push({.kind = ReplyKind::sync});
  replies.push({.kind = ReplyKind::parse});
  CHECK(drop(replies) == 2);
  CHECK(replies.head().kind == ReplyKind::sync);
  CHECK(replies.requests_owed() == 1);
  CHECK(replies.requests_done() == 1);
  CHECK(replies.on_ready());
  CHECK(drop(replies) == 1);
  CHECK(replies.skipping());
  CHECK_FALSE(replies.push({.kind = ReplyKind::bind}));
  CHECK(replies.push({.kind = ReplyKind::sync}));
  CHECK_FALSE(replies.skipping());
  CHECK(replies.on_ready());
  CHECK(replies.quiet());
}

TEST_CASE("replies: an error of a simple query drops nothing") {
  ReplyTracker replies;
  replies.push({.kind = ReplyKind::query});
  replies.push({.kind = ReplyKind::query});
  CHECK(drop(replies) == 0);
  CHECK(replies.on_ready());
  CHECK(replies.on_ready());
  CHECK(replies.quiet());
}

TEST_CASE("replies: a COPY keeps the backend until its end was sent") {
  ReplyTracker replies;
  replies.push({.kind = ReplyKind::query});
  replies.on_copy_in();
  CHECK_FALSE(replies.quiet());
  CHECK_FALSE(replies.push({.kind = ReplyKind::sync}));  // the server ignores it
  replies.on_copy_sent();
  CHECK(replies.on_ready());
  CHECK(replies.quiet());
  CHECK_FALSE(replies.in_doubt());
}

TEST_CASE("replies: an error in COPY leaves it open whether a Sync was read before or after") {
  ReplyTracker replies;
  SUBCASE("extended") {
    replies.push({.kind = ReplyKind::execute});
    SUBCASE("sent before the server copies") {
      replies.push({.kind = ReplyKind::sync});
      replies.on_copy_in();
    }
    SUBCASE("sent meanwhile") {
      replies.on_copy_in();
      CHECK_FALSE(replies.push({.kind = ReplyKind::sync}));
    }
  }
  SUBCASE("simple") {
    replies.push({.kind = ReplyKind::query});
    replies.on_copy_in();
    CHECK_FALSE(replies.push({.kind = ReplyKind::sync}));
  }
  replies.on_copy_sent();  // and so was the end of the data
  replies.push({.kind = ReplyKind::sync});
  CHECK_FALSE(replies.in_doubt());
  replies.on_error([](const Reply&) {});
  CHECK(replies.in_doubt());
}

TEST_CASE("replies: the end of a COPY that was sent before the server copies") {
  ReplyTracker replies;
  replies.push({.kind = ReplyKind::query});
  replies.on_copy_sent();
  replies.push({.kind = ReplyKind::query});
  replies.on_copy_in();
  CHECK_FALSE(replies.copy_in());
  CHECK(replies.on_ready());
  CHECK(replies.head().kind == ReplyKind::query);
}

TEST_CASE("replies: a message that has no place in COPY makes the state unclear") {
  ReplyTracker replies;
  replies.push({.kind = ReplyKind::query});
  replies.on_copy_in();
  CHECK_FALSE(replies.push({.kind = ReplyKind::query}));
  CHECK(replies.in_doubt());
}

TEST_CASE("replies: long pipelines") {
  ReplyTracker replies;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 5000; ++i) replies.push({.kind = ReplyKind::query});
    for (int i = 0; i < 4999; ++i) CHECK(replies.on_ready());
    CHECK(replies.size() == 1);
    CHECK(replies.on_ready());
  }
  CHECK(replies.requests_done() == 15000);
}

}  // namespace dwspool::session
