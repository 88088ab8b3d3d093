#include "dwspool/net/fd_channel.h"

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

namespace dwspool::net {
namespace {

struct End {
  std::vector<std::string> heard;
  std::vector<UniqueFd> fds;
  int closed = 0;
  std::unique_ptr<FdChannel> channel;

  End(Loop& loop, UniqueFd socket, std::size_t stop_after = 0)
      : channel(std::make_unique<FdChannel>(
            loop, std::move(socket),
            FdChannel::Handler{
                .on_message =
                    [this, &loop, stop_after](std::string_view message, UniqueFd fd) {
                      heard.emplace_back(message);
                      fds.push_back(std::move(fd));
                      if (heard.size() == stop_after) loop.stop();
                    },
                .on_closed =
                    [this, &loop] {
                      ++closed;
                      loop.stop();
                    }})) {}
};

TEST_CASE("fd channel: messages with descriptors arrive whole and in order") {
  Loop loop;
  UniqueFd one;
  UniqueFd other;
  REQUIRE(FdChannel::open_pair(one, other));
  End from(loop, std::move(one));
  End to(loop, std::move(other), 3);
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  UniqueFd reading(pipe[0]);
  const UniqueFd writing(pipe[1]);
  CHECK(from.channel->send("first"));
  CHECK(from.channel->send("second", std::move(reading)));
  CHECK(from.channel->send(std::string("\0third", 6)));
  loop.run();
  CHECK(to.heard == std::vector<std::string>{"first", "second", std::string("\0third", 6)});
  CHECK_FALSE(to.fds[0]);
  REQUIRE(to.fds[1]);
  CHECK_FALSE(to.fds[2]);
  CHECK((::fcntl(to.fds[1].get(), F_GETFD) & FD_CLOEXEC) != 0);
  // It is the end of that pipe.
  REQUIRE(::write(writing.get(), "x", 1) == 1);
  char byte = 0;
  CHECK(::read(to.fds[1].get(), &byte, 1) == 1);
  CHECK(byte == 'x');
}

TEST_CASE("fd channel: more than the socket takes is kept until it does") {
  Loop loop;
  UniqueFd one;
  UniqueFd other;
  REQUIRE(FdChannel::open_pair(one, other));
  End from(loop, std::move(one));
  constexpr std::size_t count = 200;
  std::vector<std::string> sent;
  for (std::size_t i = 0; i < count; ++i) {
    std::string message(i % 5 == 0 ? FdChannel::max_message : 100 + i,
                        static_cast<char>('a' + i % 26));
    sent.push_back(message);
    CHECK(from.channel->send(message, UniqueFd(::dup(0))));
  }
  End to(loop, std::move(other), count);
  loop.run();
  CHECK(to.heard == sent);
  for (const UniqueFd& each : to.fds) CHECK(static_cast<bool>(each));
}

TEST_CASE("fd channel: the end of the other end is told once, behind what it has said") {
  Loop loop;
  UniqueFd one;
  UniqueFd other;
  REQUIRE(FdChannel::open_pair(one, other));
  auto from = std::make_unique<End>(loop, std::move(one));
  End to(loop, std::move(other));
  CHECK(from->channel->send("last word"));
  from.reset();
  loop.run();
  CHECK(to.heard == std::vector<std::string>{"last word"});
  CHECK(to.closed == 1);
  CHECK(to.channel->closed());
  CHECK_FALSE(to.channel->send("too late"));
}

TEST_CASE("fd channel: sending to an end that is gone") {
  Loop loop;
  UniqueFd one;
  UniqueFd other;
  REQUIRE(FdChannel::open_pair(one, other));
  End from(loop, std::move(one));
  other.reset();
  CHECK_FALSE(from.channel->send("to nobody"));
  loop.run();
  CHECK(from.closed == 1);
}

}  // namespace
}  // namespace dwspool::net
