// How long the requests of one session take, for the log of slow ones: from the arrival of the
// first byte to the answer, with what it waited for a backend apart. A pure value: bytes and the
// time come in.
//
// It exists only where somebody wants that log.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dwspool/base/time.h"

namespace dwspool::session {

// Nothing of it is a secret.
struct SlowStatement {
  Duration took{};
  Duration waited{};  // of that, for a backend
  // The shape of the statement (sql::masked), "..." behind a cut; empty where it is not known, as
  // in the middle of a pipeline.
  std::string text;
  // sql::fingerprint, which replay's notes have, too; 0 where not all of the statement is known.
  std::uint64_t statement = 0;
};

class StatementTimer {
 public:
  // What is remembered of a text, and what is told of it.
  static constexpr std::size_t text_limit = 2048;
  static constexpr std::size_t told_limit = 500;

  // The client has said `in`, and the session has not taken it yet; may be called again with what
  // was left of it. `prepared` gives the text of a prepared statement by its name, or nothing.
  template <class Prepared>
  void on_client(std::string_view in, TimePoint now, Prepared&& prepared) {
    if (started_ != never) return;
    const Found found = find(in);
    if (!found.request) return;
    started_ = now;
    waited_ = {};
    remember(found.text.empty() && found.named ? prepared(found.name) : found.text, found.whole);
  }
  void on_wait(Duration waited) { waited_ += waited; }

  // A request is answered. `more`: others are under way. Nothing when it took less than
  // `threshold`.
  std::optional<SlowStatement> on_answered(TimePoint now, bool more, Duration threshold);

 private:
  struct Found {
    bool request = false;
    bool named = false;
    bool whole = true;
    std::string_view name;
    std::string_view text;
  };
  static Found find(std::string_view in);
  void remember(std::string_view text, bool whole);

  TimePoint started_ = never;
  Duration waited_{};
  std::string text_;
  bool whole_ = true;
};

}  // namespace dwspool::session
