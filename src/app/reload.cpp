#include "app/reload.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "dwspool/auth/digest.h"
#include "dwspool/config/reload.h"

#include "dwspool/net/work.h"

#include "app/notify.h"

namespace dwspool::app {
namespace {

constexpr std::size_t scram_salt_size = 16;

}  // namespace

void prepare_secrets(config::Config& config) {
  for (config::User& user : config.users) {
    const config::AuthMethod method = user.auth.value_or(config.auth_method);
    if (config.has_access_rules || method == config::AuthMethod::scram_sha_256 ||
        method == config::AuthMethod::password) {
      auth::add_verifier(user.secret, auth::random_bytes(scram_salt_size));
    }
  }
}

void Reloader::reload(Done done) {
  waiting_.push_back(std::move(done));
  if (!running_) start();
}

void Reloader::start() {
  running_ = true;
  asked_ = std::exchange(waiting_, {});
  notify_reloading();
  struct Job {
    std::shared_ptr<const config::Config> running;
    config::LoadResult result;
    std::vector<std::string> needs_restart;
    proxy::TlsStore::Contexts tls;
  };
  auto job = std::make_shared<Job>(Job{hub_.config(), std::vector<config::Complaint>(), {}, {}});
  net::run_in_background(
      server_.loop(),
      [job] {
        job->result = config::load_file(job->running->file);
        auto* wanted = std::get_if<config::Config>(&job->result);
        if (wanted == nullptr) return;
        config::ReloadPlan plan = config::plan_reload(*job->running, std::move(*wanted));
        std::variant<proxy::TlsStore::Contexts, std::string> tls =
            proxy::TlsStore::read(plan.config);
        if (auto* const problem = std::get_if<std::string>(&tls)) {
          // A file has changed since it was looked at a moment ago.
          job->result =
              std::vector<config::Complaint>{{job->running->file, 0, {}, std::move(*problem)}};
          return;
        }
        job->tls = std::get<proxy::TlsStore::Contexts>(std::move(tls));
        prepare_secrets(plan.config);
        *wanted = std::move(plan.config);
        job->needs_restart = std::move(plan.needs_restart);
      },
      [this, job] {
        for (const std::string& key : job->needs_restart) {
          hub_.log.write(LogLevel::warning, "config.needs_restart",
                         "this key has changed, and keeps its old value until dwspool is restarted",
                         {{"key", key}});
        }
        if (std::holds_alternative<config::Config>(job->result)) {
          // Before the configuration that may need them.
          hub_.tls.install(std::move(job->tls));
        }
        finish(job->result);
      });
}

proxy::Hub::Complaints Reloader::apply(config::LoadResult& result) {
  proxy::Hub::Complaints complaints;
  if (const auto* bad = std::get_if<std::vector<config::Complaint>>(&result)) {
    for (const config::Complaint& complaint : *bad) complaints.push_back(complaint.text());
    return complaints;
  }
  const Status status = server_.reload(
      std::make_shared<const config::Config>(std::move(std::get<config::Config>(result))));
  if (!status) complaints.push_back(status.error().message);
  return complaints;
}

void Reloader::finish(config::LoadResult& result) {
  const proxy::Hub::Complaints complaints = apply(result);
  hub_.reloads.last_was_good = complaints.empty();
  if (complaints.empty()) {
    ++hub_.reloads.good;
    hub_.reloads.last_good_at = std::chrono::duration_cast<std::chrono::seconds>(
                                    std::chrono::system_clock::now().time_since_epoch())
                                    .count();
    hub_.log.write(LogLevel::info, "config.reloaded", "the configuration has been read anew",
                   {{"config", hub_.config()->file}});
  } else {
    ++hub_.reloads.bad;
  }
  for (const std::string& complaint : complaints) {
    hub_.log.write(LogLevel::error, "config.reload_failed",
                   "the configuration is as before: " + complaint);
  }
  notify_service_manager("READY=1");
  running_ = false;
  for (const Done& done : std::exchange(asked_, {})) done(complaints);
  if (!waiting_.empty() && !running_) start();
}

}  // namespace dwspool::app
