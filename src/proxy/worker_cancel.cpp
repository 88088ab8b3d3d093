// Requests to cancel, from whom they come to whom they mean.
#include <iterator>

#include "dwspool/wire/startup.h"

#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

void Worker::forward_cancel(const wire::CancelRequest& request, ClientId requester) {
  const auto answer = [this, requester] {
    if (FrontConn* connection = find_client(requester)) connection->on_cancel_done();
    settle();
  };
  const std::optional<CancelRegistry::Target> target =
      hub_.cancels.find(request.pid, request.secret);
  if (!target) ask_predecessor({request.pid, request.secret});
  if (!target && may_be_a_peers(request)) {
    peer_cancels_.pass_on({request.pid, request.secret}, answer);
    return;
  }
  if (!target) {
    // Of those that peers pass on most are somebody else's.
    hub_.log.write_limited(request.by_peer ? LogLevel::debug : LogLevel::info, "cancel.unknown",
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

// The clients that have not come over yet: see Departures.
void Worker::ask_predecessor(const wire::KeyData& key) {
  if (!hub_.has_predecessor.load(std::memory_order_relaxed)) return;
  all_.front()->post([key](Worker& first) {
    const auto& pass_on = first.hub_.control.cancel_at_predecessor;
    if (pass_on) pass_on(key);
  });
}

void Worker::cancel_for_successor(const wire::KeyData& key) {
  const std::optional<CancelRegistry::Target> target = hub_.cancels.find(key.pid, key.secret);
  if (!target) {
    ask_predecessor(key);
    return;
  }
  all_[target->worker]->post(
      [client = target->client](Worker& owner) { owner.cancel_here(client, [] {}); });
}

// Another instance may have given that key out. What a peer has passed on goes no further, so that
// nothing can go round in circles.
bool Worker::may_be_a_peers(const wire::CancelRequest& request) const {
  return !request.by_peer && request.secret.size() == CancelRegistry::secret_size &&
         peer_cancels_.has_peers();
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
      loop_, server, std::move(tls), wire::write_cancel_request(key.pid, key.secret),
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
