#include "dwspool/proxy/client_record.h"

#include <string>

#include <doctest/doctest.h>

#include "dwspool/proxy/handover_message.h"

namespace dwspool::proxy {
namespace {

ClientRecord some_record() {
  ClientRecord record;
  record.database = "app";
  record.user = "u";
  record.address = std::string("\x7f\0\0\1", 4);
  record.port = 40000;
  record.connected = std::chrono::hours(30);
  record.answered = 5'000'000'000;
  record.key = {4711, "key!"};
  record.proven.password = Secret(std::string("pass"));
  auth::LoginKeys keys;
  keys.kind = auth::LoginKeys::Kind::scram;
  keys.secret = Secret(std::string("client key"));
  keys.salt = std::string("a\0b", 3);
  keys.iterations = 4096;
  keys.stored_key = "stored";
  keys.server_key = "server";
  record.proven.keys = keys;
  record.session.wanted.set("work_mem", "'1MB'");
  return record;
}

TEST_CASE("client record: written and read again it is the same") {
  const std::string bytes = encode(some_record());
  const auto read = decode_client_record(bytes);
  REQUIRE(read);
  CHECK(encode(*read) == bytes);
  CHECK(read->database == "app");
  CHECK(read->user == "u");
  CHECK(read->address.size() == 4);
  CHECK(read->port == 40000);
  CHECK(read->connected == std::chrono::hours(30));
  CHECK(read->answered == 5'000'000'000);
  CHECK(read->key.pid == 4711);
  CHECK(read->key.secret == "key!");
  REQUIRE(read->proven.password);
  CHECK(read->proven.password->reveal() == "pass");
  REQUIRE(read->proven.keys);
  CHECK(read->proven.keys->kind == auth::LoginKeys::Kind::scram);
  CHECK(read->proven.keys->secret.reveal() == "client key");
  CHECK(read->proven.keys->iterations == 4096);
  CHECK(*read->session.wanted.find("work_mem") == "'1MB'");
  const auto nobody = decode_client_record(encode(ClientRecord{}));
  REQUIRE(nobody);
  CHECK(nobody->proven.empty());
}

TEST_CASE("client record: what is cut off, goes on, or cannot be is none") {
  const std::string bytes = encode(some_record());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(decode_client_record(std::string_view(bytes).substr(0, size)));
  }
  CHECK_FALSE(decode_client_record(bytes + 'x'));
  ClientRecord record = some_record();
  record.address = "12345";
  CHECK_FALSE(decode_client_record(encode(record)));
}

TEST_CASE("handover message: written and read again it is the same") {
  using Kind = HandoverMessage::Kind;
  const std::string bytes = write_handover_message({Kind::client, 1ULL << 40U, "body"});
  const auto read = read_handover_message(bytes);
  REQUIRE(read);
  CHECK(read->kind == Kind::client);
  CHECK(read->number == 1ULL << 40U);
  CHECK(read->body == "body");
  CHECK(read_handover_message(write_handover_message({Kind::ready, 1, {}})));
  CHECK(read_handover_message(write_handover_message({Kind::taken, 1, {}})));
  CHECK(read_handover_message(write_handover_message({Kind::refused, 1, {}})));
  CHECK(read_handover_message(write_handover_message({Kind::cancel, 1, "abcd"})));
}

TEST_CASE("handover message: what is none") {
  CHECK_FALSE(read_handover_message(""));
  CHECK_FALSE(read_handover_message("+"));
  CHECK_FALSE(read_handover_message("C1234567"));
  CHECK_FALSE(read_handover_message("?12345678"));
  CHECK_FALSE(read_handover_message("R12345678x"));
}

}  // namespace
}  // namespace dwspool::proxy
