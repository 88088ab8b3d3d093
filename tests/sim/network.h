// Connections as the network sees them: two streams of bytes, each on its way for as long as the
// scheduler likes, cut wherever it likes, and lost from any byte on.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/context.h"

namespace dwspool::sim {

class Endpoint {
 public:
  Endpoint() = default;
  virtual ~Endpoint() = default;
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  // May end with *this destroyed.
  virtual void on_bytes(std::string_view bytes) = 0;
  // Nothing comes any more. `clean`: the other side has closed, the network is well.
  virtual void on_end(bool clean) = 0;
};

struct Stream {
  Endpoint* to = nullptr;  // null: nobody is there any more
  std::string flight;      // sent and not yet arrived
  bool ended = false;      // nothing follows what is in flight
  bool clean = true;
  bool end_told = false;
  bool lost = false;  // what is sent from now on gets nowhere
};

struct Wire {
  Stream streams[2];  // NOLINT: towards side 0 and side 1
  int number = 0;
};

// One side's hold of a wire; letting go of it closes.
class Plug {
 public:
  Plug() = default;
  Plug(Wire* wire, unsigned side) : wire_(wire), side_(side) {}
  Plug(Plug&& other) noexcept : wire_(std::exchange(other.wire_, nullptr)), side_(other.side_) {}
  Plug& operator=(Plug&& other) noexcept {
    if (this != &other) {
      close();
      wire_ = std::exchange(other.wire_, nullptr);
      side_ = other.side_;
    }
    return *this;
  }
  ~Plug() { close(); }

  explicit operator bool() const { return wire_ != nullptr; }
  void attach(Endpoint& end) { wire_->streams[side_].to = &end; }
  // False when the connection is known to be gone.
  bool send(Context& context, std::string_view bytes);
  void close();
  // Closes, and what the other side has not got yet it may never get.
  void reset(Context& context);
  Wire* wire() const { return wire_; }
  // What is on its way to this side.
  std::string_view arriving() const { return wire_->streams[side_].flight; }
  bool broken() const { return wire_->streams[side_].lost; }
  std::string_view departing() const { return wire_->streams[1 - side_].flight; }

 private:
  Wire* wire_ = nullptr;
  unsigned side_ = 0;
};

class Network {
 public:
  explicit Network(Context& context) : context_(&context) {}

  std::pair<Plug, Plug> connect();

  // Streams on which something can happen.
  void collect(std::vector<Stream*>& streams);
  // Something of what is in flight arrives, or the end does.
  void deliver(Stream& stream);
  // The connection breaks: each stream is lost from any byte on.
  void cut(Wire& wire);
  const std::vector<std::unique_ptr<Wire>>& wires() const { return wires_; }
  // Forgets connections that nobody holds. Not from within deliver().
  void sweep();

 private:
  Context* context_;
  std::vector<std::unique_ptr<Wire>> wires_;
  int last_number_ = 0;
};

}  // namespace dwspool::sim
