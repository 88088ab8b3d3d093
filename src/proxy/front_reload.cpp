// A client whose pool has been reconfigured, or is another one.
#include <utility>

#include "dwspool/proxy/front_conn.h"
#include "dwspool/proxy/pool_context.h"
#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

void FrontConn::on_reconfigured() {
  if (!session_ || lingering_ || leaves_) return;
  PoolContext* pool = worker_.config().may_come_in(user_, pool_->database)
                          ? find_own_pool(pool_->database)
                          : nullptr;
  if (pool == nullptr) {
    end_session("its user or database is not in the configuration of dwspool any more");
    return;
  }
  // What is under way ends where it began.
  if (backend_ != nullptr || session_->replaying()) {
    moves_ = pool != pool_;
    return;
  }
  moves_ = false;
  if (pool != pool_) {
    PoolContext* before = std::exchange(pool_, pool);
    --before->clients;
    ++pool_->clients;
    worker_.touch(*before);
    worker_.touch(*pool_);
    if (waiting_) {
      before->pool.abandon(id_, worker_.now());
      waiting_ = false;
      const TimePoint since = wait_started_;
      if (acquire()) {
        go_on(session_->on_granted(backend_->core(), worker_.output(), worker_.now()));
      } else {
        wait_started_ = since;
      }
      return;
    }
  }
  take_sessions();
}

// At rest, after a reload.
void FrontConn::take_sessions() {
  if (moves_) {
    on_reconfigured();
    return;
  }
  // A session keeps the pool mode that it began with: what it holds is carried, or not, by that.
  const session::SessionConfig& wanted = pool_->sessions->context.config;
  if (sessions_ == pool_->sessions || wanted.mode != sessions_->context.config.mode) return;
  if (!session_->set_context(pool_->sessions->context, &pool_->sessions->replay)) return;
  sessions_ = pool_->sessions;
}

}  // namespace dwspool::proxy
