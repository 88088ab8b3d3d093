// One CancelRequest on its way to a server, or to another dwspool: connects, agrees on TLS where
// the backend's connection has it, sends, and waits for the server to close, by which time it has
// passed the signal on.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "dwspool/base/time.h"

#include "dwspool/net/address.h"
#include "dwspool/net/connector.h"
#include "dwspool/net/loop.h"
#include "dwspool/net/socket.h"
#include "dwspool/net/timer.h"

namespace dwspool::proxy {

class CancelSender final : public net::Socket::Handler {
 public:
  // `server`: where the backend's own connection goes to, since a name may have other addresses
  // by now. `done` is called once, whatever becomes of it, within a few seconds; it may destroy
  // the sender. `dealt_with`: it will not take effect any more. `tls`: null for none.
  // `packet`: the request as wire writes it.
  CancelSender(net::Loop& loop, const net::Address& server, std::unique_ptr<tls::Engine> tls,
               std::string packet, std::function<void(bool sent, bool dealt_with)> done);
  CancelSender(const CancelSender&) = delete;
  CancelSender& operator=(const CancelSender&) = delete;

  void on_ready(bool readable, bool writable) override;

 private:
  void on_connected(UniqueFd fd);
  void on_encryption_answer();
  void send_packet();
  void finish();

  net::Loop& loop_;
  std::string packet_;
  std::unique_ptr<tls::Engine> engine_;  // until the server has agreed to TLS
  std::function<void(bool, bool)> done_;
  bool sent_ = false;
  bool answered_ = false;  // by the server's end of the connection
  net::Timer timer_;
  std::unique_ptr<net::Socket> socket_;
  net::Connector connector_;
};

}  // namespace dwspool::proxy
