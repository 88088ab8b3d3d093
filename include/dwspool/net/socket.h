// A connected socket on a loop: told when it is ready, read and written directly.
//
// Interest in events is changed only when the caller asks for a change, since every change costs
// a system call; in steady state there is none.
//
// TLS goes on top of a connection that is there (start_tls) and changes nothing for its user, but
// that nothing can be sent before the handshake is over: until then the socket counts as full. In
// clear, all that it costs is the question whether there is TLS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "dwspool/base/byte_queue.h"
#include "dwspool/base/gather_list.h"
#include "dwspool/base/time.h"
#include "dwspool/base/unique_fd.h"

#include "dwspool/net/loop.h"

#include "dwspool/tls/engine.h"

namespace dwspool::net {

struct IoResult {
  enum class Status : std::uint8_t { ok, would_block, closed, failed };
  Status status = Status::ok;
  std::size_t bytes = 0;
  int error = 0;  // errno, when failed
};

// A connection's TLS, with the encrypted bytes that the system has not taken yet.
struct TlsState {
  std::unique_ptr<tls::Engine> engine;
  ByteQueue pending;
  int error = 0;               // errno of a send that failed
  bool shutting_down = false;  // when `pending` is out
};

class Socket {
 public:
  // With TLS, receive() needs this much room.
  static constexpr std::size_t min_room = tls::max_record + 4096;

  class Handler {
   public:
    // Bytes can be read (or the end, or an error, found by reading), or written. The socket may
    // be destroyed from within.
    virtual void on_ready(bool readable, bool writable) = 0;

   protected:
    ~Handler() = default;
  };

  // Takes a connected socket and makes it non-blocking. Nothing is watched at first. Throws
  // std::runtime_error when the loop refuses it.
  Socket(Loop& loop, UniqueFd fd, Handler& handler, std::unique_ptr<TlsState> tls = nullptr);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // Holds until it is changed, also over an error of the socket: the handler is told to read (or
  // to write) until it has found the error and destroys the socket.
  void watch(bool readable, bool writable);
  bool watches_reading() const { return (watched_ & UV_READABLE) != 0; }

  // One recv(). `closed` when the peer has shut down its side. With TLS, all that was received is
  // in the buffer: nothing waits where no event would tell of it.
  IoResult receive(char* buffer, std::size_t size);
  // One gathered send. Fewer bytes than there are means that the socket is full.
  IoResult send(const Slice* slices, std::size_t count);
  // Sends the end of the stream behind what was sent.
  void shut_down();
  // Why receive() or send() has failed.
  std::string failure_text(const IoResult& result) const;

  // From now on all is encrypted. `received`: what has come already and belongs to the handshake.
  // To be called once. A handshake that fails is seen by receive().
  void start_tls(std::unique_ptr<tls::Engine> engine, std::string_view received = {});
  // Null without TLS.
  const tls::Engine* tls() const { return tls_ ? tls_->engine.get() : nullptr; }
  // For people: "TLSv1.3 TLS_AES_256_GCM_SHA384", or "none".
  std::string tls_text() const;
  // Of this end of a TCP connection; 0 for others.
  std::uint16_t local_port() const;
  bool shaking_hands() const {
    return tls_ && tls_->engine->state() == tls::Engine::State::shaking_hands;
  }

  // Takes the socket off the loop, to be used elsewhere, by a socket that gets release_tls(), too.
  UniqueFd release();
  std::unique_ptr<TlsState> release_tls() { return std::move(tls_); }
  int fd() const { return fd_.get(); }

 private:
  void on_event(int status, int events);
  void set_watched(int wanted);
  // socket_tls.cpp
  int tls_interest() const;
  void on_tls_event(int events);
  IoResult receive_tls(char* buffer, std::size_t size);
  IoResult take_in(std::string_view received, char* buffer, std::size_t size);
  IoResult send_tls(const Slice* slices, std::size_t count);
  void transmit(std::string_view encrypted);
  void send_pending();
  bool tls_failed() const;

  UniqueFd fd_;
  Loop* loop_;
  Handler* handler_;
  UvPtr<uv_poll_t> poll_;
  std::unique_ptr<TlsState> tls_;
  int wanted_ = 0;        // by the caller
  int watched_ = 0;       // by the loop
  bool stopped_ = false;  // libuv has stopped watching, because of an error
};

struct KeepAliveOptions {
  Duration idle{};
  Duration interval{};
  int count = 0;
};
// TCP_NODELAY and keep-alive; a peer that does not acknowledge for as long as keep-alive would
// take to notice is given up (TCP_USER_TIMEOUT). No effect on Unix sockets.
void set_tcp_options(int fd, const KeepAliveOptions& keepalive);

}  // namespace dwspool::net
