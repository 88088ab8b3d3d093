// What takes so long that it must not be done on the loop.
#include "dwspool/net/work.h"

#include "dwspool/proxy/worker.h"

namespace dwspool::proxy {

void Worker::derive_in_background(BackendId id, const login::Derivation& work) {
  struct Job {
    login::Derivation work;
    login::DerivedKeys keys;
  };
  auto job = std::make_shared<Job>(Job{work, {}});
  net::run_in_background(
      loop_, [job] { job->keys = login::derive(job->work); },
      [this, job, id, alive = alive_] {
        if (!*alive) return;
        if (BackConn* backend = find_backend(id)) backend->on_derived(job->work, job->keys);
        settle();
      });
}

void Worker::check_password_in_background(ClientId id, auth::PasswordCheck check) {
  struct Job {
    auth::PasswordCheck check;
    auth::PasswordVerdict verdict;
  };
  auto job = std::make_shared<Job>(Job{std::move(check), {}});
  net::run_in_background(
      loop_, [job] { job->verdict = auth::judge(job->check); },
      [this, job, id, alive = alive_] {
        if (!*alive) return;
        if (FrontConn* client = find_client(id)) client->on_password_checked(job->verdict);
        settle();
      });
}

}  // namespace dwspool::proxy
