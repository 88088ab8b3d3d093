#include "dwspool/retry/unit_log.h"

#include <algorithm>
#include <map>
#include <set>

#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"

namespace dwspool::retry {
namespace {

namespace fe = wire::frontend;

constexpr bool ends_unit(char type) {
  return type == fe::query || type == fe::function_call || type == fe::sync;
}
constexpr bool is_copy(char type) {
  return type == fe::copy_data || type == fe::copy_done || type == fe::copy_fail;
}

using Texts = std::map<std::string, std::optional<std::string>, std::less<>>;

std::optional<std::string> find(const Texts& texts, std::string_view name) {
  const auto found = texts.find(name);
  return found == texts.end() ? std::nullopt : found->second;
}

// The names of prepared statements that are given or taken anywhere in it.
std::set<std::string, std::less<>> names_changed_in(std::string_view log) {
  std::set<std::string, std::less<>> names;
  while (!log.empty()) {
    const wire::FrameView view = wire::peek_frame(log);
    if (view.status != wire::FrameStatus::complete) break;
    const wire::Frame frame = wire::take_frame(log, view);
    if (frame.type == fe::parse) {
      if (const auto message = wire::read_parse(frame.body())) names.emplace(message->name);
    } else if (frame.type == fe::close) {
      const auto target = wire::read_target(frame.body());
      if (target && target->kind == 'S') names.emplace(target->name);
    }
  }
  return names;
}

}  // namespace

LogPiece first_piece(std::string_view log) {
  const bool copy = is_copy(log[0]);
  std::string_view left = log;
  while (!left.empty()) {
    const wire::FrameView view = wire::peek_frame(left);
    const bool whole = view.status == wire::FrameStatus::complete;
    if (copy != is_copy(left[0])) break;
    left.remove_prefix(whole ? view.total : left.size());
    if (whole && ends_unit(view.type)) {
      return {LogPiece::Kind::unit, log.substr(0, log.size() - left.size())};
    }
  }
  return {copy ? LogPiece::Kind::copy : LogPiece::Kind::rest,
          log.substr(0, log.size() - left.size())};
}

std::size_t missing_at_end(std::string_view piece) {
  while (!piece.empty()) {
    const wire::FrameView view = wire::peek_frame(piece);
    if (view.status != wire::FrameStatus::complete) {
      return view.total - std::min(view.total, piece.size());
    }
    piece.remove_prefix(view.total);
  }
  return 0;
}

std::vector<UnitTexts> texts_of(
    std::string_view log,
    const std::function<std::optional<std::string>(std::string_view name)>& known) {
  std::vector<UnitTexts> units;
  Texts statements;
  Texts portals;
  // What a name stands for now is not what it stood for before the log, if the log changes it.
  const std::set<std::string, std::less<>> changed = names_changed_in(log);
  const auto text_of = [&](std::string_view name) -> std::optional<std::string> {
    const auto found = statements.find(name);
    if (found != statements.end()) return found->second;
    return changed.contains(name) ? std::nullopt : known(name);
  };
  while (!log.empty()) {
    const LogPiece piece = first_piece(log);
    log.remove_prefix(piece.bytes.size());
    if (piece.kind == LogPiece::Kind::copy) {
      if (!units.empty()) units.back().copies = true;
      continue;
    }
    UnitTexts& unit = units.emplace_back();
    unit.complete = piece.kind == LogPiece::Kind::unit;
    std::string_view left = piece.bytes;
    while (!left.empty()) {
      const wire::FrameView view = wire::peek_frame(left);
      if (view.status != wire::FrameStatus::complete) {
        unit.texts.emplace_back();
        break;
      }
      const wire::Frame frame = wire::take_frame(left, view);
      switch (frame.type) {
        case fe::query: {
          const auto text = wire::read_query(frame.body());
          unit.texts.emplace_back(text ? std::optional<std::string>(*text) : std::nullopt);
          statements.erase("");
          break;
        }
        case fe::function_call:
          unit.texts.emplace_back();
          break;
        case fe::parse:
          if (const auto message = wire::read_parse(frame.body())) {
            statements[std::string(message->name)] = std::string(message->query);
          }
          break;
        case fe::bind:
          if (const auto prefix = wire::read_bind_prefix(frame.body())) {
            portals[std::string(prefix->portal)] = text_of(prefix->statement);
          }
          break;
        case fe::execute: {
          const std::string_view body = frame.body();
          unit.texts.push_back(find(portals, body.substr(0, body.find('\0'))));
          break;
        }
        default:
          break;
      }
    }
  }
  return units;
}

}  // namespace dwspool::retry
