// Decoders of single messages: whatever is decoded must encode to the same bytes again.
#include "dwspool/wire/messages.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "dwspool/wire/frame.h"
#include "dwspool/wire/startup.h"

#include "fuzz/input.h"

using namespace dwspool;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::uint8_t kind = input.byte() % 8;
  const std::string_view body = input.rest();
  std::string again;
  switch (kind) {
    case 0:
      if (const auto m = wire::read_parse(body)) {
        wire::append_parse(again, m->name, m->query, m->types);
        fuzz::require(std::string_view(again).substr(wire::header_size) == body);
      }
      break;
    case 1:
      if (const auto m = wire::read_bind_prefix(body)) {
        fuzz::require(m->prefix_size <= body.size());
        fuzz::require(m->portal.size() + m->statement.size() + 2 == m->prefix_size);
      }
      break;
    case 2:
      if (const auto m = wire::read_target(body)) {
        wire::append_close(again, m->kind, m->name);
        fuzz::require(std::string_view(again).substr(wire::header_size) == body);
      }
      break;
    case 3:
      if (const auto m = wire::read_parameter_status(body)) {
        wire::append_parameter_status(again, m->name, m->value);
        fuzz::require(std::string_view(again).substr(wire::header_size) == body);
      }
      break;
    case 4:
      if (const auto m = wire::read_key_data(body)) {
        wire::append_key_data(again, *m);
        fuzz::require(std::string_view(again).substr(wire::header_size) == body);
      }
      break;
    case 5: {
      const wire::ErrorFields fields = wire::read_error(body);
      wire::append_report(again, {wire::Severity::error, std::string(fields.sqlstate),
                                  std::string(fields.message), std::string(fields.detail),
                                  std::string(fields.hint), std::string(fields.routine)});
      const wire::ErrorFields second =
          wire::read_error(std::string_view(again).substr(wire::header_size));
      fuzz::require(second.message == fields.message && second.sqlstate == fields.sqlstate);
      break;
    }
    case 6: {
      std::string_view rest = body;
      const wire::StartupPacket packet = wire::read_startup_packet(rest, wire::max_startup_length);
      if (const auto* startup = std::get_if<wire::StartupMessage>(&packet)) {
        again = wire::write_startup_message(*startup);
        fuzz::require(again == body.substr(0, body.size() - rest.size()));
      }
      break;
    }
    default:
      wire::parse_options(body);
      break;
  }
  return 0;
}
