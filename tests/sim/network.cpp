#include "sim/network.h"

#include <algorithm>

namespace dwspool::sim {
namespace {

// From any byte on.
void lose_rest(Stream& stream, Random& random) {
  stream.lost = true;
  stream.clean = false;
  stream.ended = true;
  stream.flight.resize(random.below(stream.flight.size() + 1));
}

}  // namespace

bool Plug::send(Context& context, std::string_view bytes) {
  if (wire_ == nullptr) return false;
  Stream& stream = wire_->streams[1 - side_];
  if (stream.to == nullptr || stream.lost) {
    // The first sends into a dead connection are taken, as long as nobody has heard of its end.
    return !wire_->streams[side_].end_told && context.random.chance(70);
  }
  stream.flight += bytes;
  return true;
}

void Plug::close() {
  if (wire_ == nullptr) return;
  wire_->streams[side_].to = nullptr;
  wire_->streams[side_].flight.clear();
  wire_->streams[1 - side_].ended = true;
  wire_ = nullptr;
}

void Plug::reset(Context& context) {
  if (wire_ == nullptr) return;
  lose_rest(wire_->streams[1 - side_], context.random);
  close();
}

std::pair<Plug, Plug> Network::connect() {
  wires_.push_back(std::make_unique<Wire>());
  wires_.back()->number = ++last_number_;
  return {Plug(wires_.back().get(), 0), Plug(wires_.back().get(), 1)};
}

void Network::collect(std::vector<Stream*>& streams) {
  for (const auto& wire : wires_) {
    for (Stream& stream : wire->streams) {
      if (stream.to == nullptr) continue;
      if (!stream.flight.empty() || (stream.ended && !stream.end_told)) streams.push_back(&stream);
    }
  }
}

void Network::deliver(Stream& stream) {
  if (stream.flight.empty()) {
    stream.end_told = true;
    stream.to->on_end(stream.clean);
    return;
  }
  Random& random = context_->random;
  std::size_t count = stream.flight.size();
  if (count > 1 && random.chance(45)) {
    count = random.chance(30) ? random.between(1, std::min<std::size_t>(count, 6))
                              : random.between(1, count);
  }
  if (count == stream.flight.size()) {
    const std::string piece = std::move(stream.flight);
    stream.flight.clear();
    stream.to->on_bytes(piece);
    return;
  }
  const std::string piece = stream.flight.substr(0, count);
  stream.flight.erase(0, count);
  stream.to->on_bytes(piece);
}

void Network::cut(Wire& wire) {
  for (Stream& stream : wire.streams) lose_rest(stream, context_->random);
}

void Network::sweep() {
  std::erase_if(wires_, [](const auto& wire) {
    return wire->streams[0].to == nullptr && wire->streams[1].to == nullptr;
  });
}

}  // namespace dwspool::sim
