#include "dwspool/proxy/inquiry.h"

#include <algorithm>
#include <utility>

#include "dwspool/wire/sqlstate.h"

namespace dwspool::proxy {
namespace {

// Which hosts: what is asked, each of them knows.
constexpr Target target = Target::any;
// Between rounds over hosts of which none could be had.
constexpr Duration round_pause = std::chrono::milliseconds{100};

}  // namespace

Inquiry::Inquiry(Hub& hub, std::shared_ptr<ClusterState> cluster, net::Loop& loop)
    : hub_(hub), cluster_(std::move(cluster)), loop_(loop), timer_(loop, [this] { on_time(); }) {}

Inquiry::~Inquiry() {
  leave_host();
}

void Inquiry::ask_about(const Account& account, std::string sql, std::string value, Done done) {
  sql_ = std::move(sql);
  value_ = std::move(value);
  begin(account, std::move(done));
}

void Inquiry::log_in(const Account& account, Done done) {
  sql_.clear();
  begin(account, std::move(done));
}

void Inquiry::begin(const Account& account, Done done) {
  account_ = account;
  done_ = std::move(done);
  tried_.clear();
  last_failure_.clear();
  deadline_ = deadline_after(loop_.now(), cluster_->config().connect_timeout);
  timer_.arm(deadline_);
  if (host_ && cluster_->is_out(*host_)) {
    sessions_[*host_]->abort();
    leave_host();
  }
  if (host_) {
    ask_host();
  } else {
    next_host();
  }
}

void Inquiry::next_host() {
  TimePoint retry_at = never;
  host_ = cluster_->begin_inquiry(tried_, loop_.now(), retry_at);
  if (!host_) {
    const TimePoint later = loop_.now() + round_pause;
    const TimePoint next = tried_.empty() ? std::min(retry_at, later) : later;
    tried_.clear();
    timer_.arm(std::min(next, deadline_));
    return;
  }
  opened_ = false;
  tried_.push_back(*host_);
  ask_host();
}

void Inquiry::ask_host() {
  if (sessions_.size() <= *host_) sessions_.resize(*host_ + 1);
  std::unique_ptr<SideSession>& session = sessions_[*host_];
  if (!session) session = std::make_unique<SideSession>(hub_, *cluster_, loop_, *host_);
  const auto heard = [this](const Answer& answer) { on_answer(answer); };
  if (sql_.empty()) {
    session->log_in(account_, heard);
  } else {
    session->ask_about(account_, sql_, value_, heard);
  }
}

void Inquiry::on_answer(const Answer& answer) {
  using Kind = Answer::Kind;
  if (answer.kind == Kind::rows || answer.kind == Kind::error) {
    if (!std::exchange(opened_, true)) {
      cluster_->on_opened(*host_, loop_.now());
      cluster_->on_closed(*host_, target, loop_.now());  // it takes no place of a client's
    }
    if (sql_.empty()) leave_host();
    finish(answer);
    return;
  }
  if (answer.kind == Kind::no_admission) {
    leave_host();
    finish(answer);
    return;
  }
  last_failure_ = cluster_->host(*host_).label() + ": " + answer.why;
  if (opened_) {
    leave_host();
  } else {
    cluster_->on_open_failed(*std::exchange(host_, std::nullopt), target, answer.trouble,
                             loop_.now(), 0);
  }
  next_host();
}

void Inquiry::on_time() {
  if (loop_.now() < deadline_) {
    next_host();
    return;
  }
  if (host_) {
    last_failure_ = cluster_->host(*host_).label() + ": no answer in time";
    sessions_[*host_]->abort();
    leave_host();
  }
  Answer answer;
  answer.kind = Answer::Kind::no_session;
  answer.sqlstate = wire::sqlstate::cannot_connect_now;
  answer.why = last_failure_.empty() ? "there is no host to be had" : last_failure_;
  finish(answer);
}

void Inquiry::leave_host() {
  if (host_ && !opened_) cluster_->on_open_abandoned(*host_, target, loop_.now());
  host_.reset();
  opened_ = false;
}

void Inquiry::finish(const Answer& answer) {
  timer_.disarm();
  const Done done = std::exchange(done_, nullptr);
  if (done) done(answer);
}

}  // namespace dwspool::proxy
