#include "dwspool/net/loop.h"

#include <cerrno>
#include <csignal>
#include <stdexcept>

#include <sys/signalfd.h>
#include <unistd.h>

#include "dwspool/net/async.h"
#include "dwspool/net/signal.h"
#include "dwspool/net/timer.h"
#include "dwspool/net/work.h"

namespace dwspool::net {
namespace {

void check(int status, const char* what) {
  if (status != 0) throw std::runtime_error(std::string(what) + ": " + uv_strerror(status));
}

}  // namespace

Loop::Loop() : before_poll_(new uv_prepare_t) {
  check(uv_loop_init(&loop_), "uv_loop_init");
  check(uv_prepare_init(&loop_, before_poll_.get()), "uv_prepare_init");
  before_poll_->data = this;
  // What is found by the next poll happens at a time not known yet.
  uv_prepare_start(before_poll_.get(), [](uv_prepare_t* handle) {
    static_cast<Loop*>(handle->data)->now_is_fresh_ = false;
  });
  uv_unref(reinterpret_cast<uv_handle_t*>(before_poll_.get()));
}

Loop::~Loop() {
  uv_prepare_stop(before_poll_.get());
  before_poll_.reset();
  while (uv_run(&loop_, UV_RUN_NOWAIT) != 0) {
  }
  uv_loop_close(&loop_);
}

void Loop::run() {
  uv_run(&loop_, UV_RUN_DEFAULT);
}

void Loop::refresh_now() {
  now_ = TimePoint(Duration(static_cast<std::int64_t>(uv_hrtime())));
  now_is_fresh_ = true;
}

Timer::Timer(Loop& loop, std::function<void()> on_time)
    : loop_(&loop), on_time_(std::move(on_time)), handle_(new uv_timer_t) {
  check(uv_timer_init(loop.raw(), handle_.get()), "uv_timer_init");
  handle_->data = this;
}

void Timer::arm(TimePoint deadline) {
  if (deadline == never) {
    disarm();
    return;
  }
  if (deadline == deadline_) return;
  deadline_ = deadline;
  const TimePoint now = loop_->now();
  // One at least: a timer that is due at once when it is armed from its own callback would keep
  // the loop from ever polling.
  std::uint64_t milliseconds = 1;
  if (deadline > now) {
    milliseconds = static_cast<std::uint64_t>(
        std::chrono::ceil<std::chrono::milliseconds>(deadline - now).count());
  }
  uv_update_time(loop_->raw());
  uv_timer_start(
      handle_.get(),
      [](uv_timer_t* handle) {
        auto* timer = static_cast<Timer*>(handle->data);
        if (timer == nullptr) return;
        timer->deadline_ = never;
        timer->on_time_();
      },
      milliseconds, 0);
}

void Timer::disarm() {
  if (deadline_ == never) return;
  deadline_ = never;
  uv_timer_stop(handle_.get());
}

Async::Async(Loop& loop, std::function<void()> on_wake)
    : on_wake_(std::move(on_wake)), handle_(new uv_async_t) {
  check(uv_async_init(loop.raw(), handle_.get(),
                      [](uv_async_t* handle) {
                        if (handle->data != nullptr) static_cast<Async*>(handle->data)->on_wake_();
                      }),
        "uv_async_init");
  handle_->data = this;
}

void Signal::block(int number) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  check(-pthread_sigmask(SIG_BLOCK, &set, nullptr), "pthread_sigmask");
}

Signal::Signal(Loop& loop, int number, std::function<void()> on_signal)
    : on_signal_(std::move(on_signal)), poll_(nullptr) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  fd_.reset(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  check(fd_ ? 0 : -errno, "signalfd");
  auto poll = std::make_unique<uv_poll_t>();
  check(uv_poll_init(loop.raw(), poll.get(), fd_.get()), "uv_poll_init");
  poll_.reset(poll.release());
  poll_->data = this;
  uv_poll_start(poll_.get(), UV_READABLE, [](uv_poll_t* handle, int, int) {
    if (handle->data != nullptr) static_cast<Signal*>(handle->data)->on_readable();
  });
  uv_unref(reinterpret_cast<uv_handle_t*>(poll_.get()));
}

void Signal::on_readable() {
  signalfd_siginfo info{};
  while (::read(fd_.get(), &info, sizeof(info)) == sizeof(info)) on_signal_();
}

void run_in_background(Loop& loop, std::function<void()> work, std::function<void()> done) {
  struct Job {
    uv_work_t request{};
    std::function<void()> work;
    std::function<void()> done;
  };
  auto job = std::make_unique<Job>();
  job->work = std::move(work);
  job->done = std::move(done);
  job->request.data = job.get();
  check(uv_queue_work(
            loop.raw(), &job->request,
            [](uv_work_t* request) { static_cast<Job*>(request->data)->work(); },
            [](uv_work_t* request, int) {
              const std::unique_ptr<Job> finished(static_cast<Job*>(request->data));
              finished->done();
            }),
        "uv_queue_work");
  static_cast<void>(job.release());  // the callback owns it
}

}  // namespace dwspool::net
