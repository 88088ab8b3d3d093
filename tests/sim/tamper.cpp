#include "sim/tamper.h"

#include "dwspool/wire/frame.h"
#include "dwspool/wire/messages.h"
#include "dwspool/wire/types.h"

namespace dwspool::sim {

namespace be = wire::backend;

std::optional<Broken> broken_by_name(std::string_view name) {
  for (const BrokenName& known : broken_names) {
    if (known.name == name) return known.which;
  }
  return std::nullopt;
}

std::string message_types(std::string_view bytes) {
  std::string types;
  while (true) {
    const wire::FrameView view = wire::peek_frame(bytes);
    if (view.status != wire::FrameStatus::complete) break;
    types += view.type;
    bytes.remove_prefix(view.total);
  }
  if (!bytes.empty()) types += "+" + std::to_string(bytes.size());
  return types;
}

std::string Tamper::apply(Context& context, std::string_view bytes) {
  std::string out;
  kept_ += bytes;
  std::string_view rest = kept_;
  while (true) {
    const wire::FrameView view = wire::peek_frame(rest);
    if (view.status != wire::FrameStatus::complete) break;
    on_frame(context, view.type, rest.substr(0, view.total), out);
    rest.remove_prefix(view.total);
  }
  kept_.erase(0, kept_.size() - rest.size());
  return out;
}

void Tamper::on_frame(Context& context, char type, std::string_view frame, std::string& out) {
  const auto spoil = [&](bool when) {
    if (when) ++context.broken_times;
    return when;
  };
  switch (context.broken) {
    case Broken::ack_on_command_complete:
      if (type == be::ready_for_query && ready_said_) {
        ready_said_ = false;
        return;
      }
      out += frame;
      if (type == be::command_complete && !ready_said_) {
        ready_said_ = true;
        ++context.broken_times;
        wire::append_ready_for_query(out, wire::TxStatus::idle);
      }
      return;
    case Broken::definite_after_commit: {
      std::string changed(frame);
      const std::size_t at = changed.find("C08007");
      if (type == be::error_response && spoil(at != std::string::npos)) {
        changed.replace(at, 6, "C08006");
      }
      out += changed;
      return;
    }
    case Broken::swallow_error:
      if (!spoil(type == be::error_response && context.random.chance(30))) out += frame;
      return;
    case Broken::answer_twice:
      out += frame;
      if (spoil(type == be::ready_for_query && context.random.chance(10))) out += frame;
      return;
    case Broken::lose_row:
      if (!spoil(type == be::data_row && context.random.chance(10))) out += frame;
      return;
    case Broken::wrong_status:
      if (spoil(type == be::ready_for_query && frame.back() != 'I')) {
        wire::append_ready_for_query(out, wire::TxStatus::idle);
      } else {
        out += frame;
      }
      return;
    default:
      out += frame;
      return;
  }
}

}  // namespace dwspool::sim
