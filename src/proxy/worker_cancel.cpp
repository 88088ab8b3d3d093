// Requests to cancel, from whom they come to whom they mean.
#include <iterator>

#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

void Worker::forward_cancel(const wire::CancelRequest& request, ClientId requester) {
  const auto answer = [this, requester] {
    if (FrontConn* connection = find_client(requester)) connection->on_cancel_done();
    settle();
  };
  const std::optional<CancelRegistry::Target> target =
      hub_.cancels.find(request.pid, request.secret);
  if (!target) {
    hub_.log.write_limited(LogLevel::info, "cancel.unknown",
                           "a cancel request names no session of this process");
    answer();
    return;
  }
  if (target->worker == index_) {
    cancel_here(target->client, answer);
    return;
  }
  all_[target->worker]->post([client = target->client, origin = index_, requester](Worker& other) {
    other.cancel_here(client, [&other, origin, requester] {
      other.all_[origin]->post([requester](Worker& first) {
        if (FrontConn* connection = first.find_client(requester)) connection->on_cancel_done();
      });
    });
  });
}

void Worker::cancel_here(ClientId target, const std::function<void()>& done) const {
  if (FrontConn* client = find_client(target)) {
    client->cancel(done);
  } else {
    done();
  }
}

void Worker::send_cancel(BackendId backend, const net::Address& server,
                         std::unique_ptr<tls::Engine> tls, const wire::KeyData& key,
                         std::function<void(bool sent)> done) {
  cancels_.emplace_back();
  const auto place = std::prev(cancels_.end());
  *place = std::make_unique<CancelSender>(
      loop_, server, std::move(tls), key,
      [this, backend, place, done = std::move(done)](bool sent, bool dealt_with) {
        const std::unique_ptr<CancelSender> finished = std::move(*place);
        cancels_.erase(place);
        if (BackConn* connection = find_backend(backend)) {
          connection->on_cancel_finished(dealt_with);
        }
        done(sent);
        settle();
      });
}

}  // namespace dwspool::proxy
