// A session between a client and a server that say anything at any time, with backends that come,
// go and die. What must hold whatever they say:
//   - a backend is let go of only when it owes nothing and its transaction is over,
//   - the session consumes from the front and never reads past what it was given,
//   - an ended session says nothing more,
//   - a session that may go to another process (session/image.h) can be read there.
#include "dwspool/session/session.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "dwspool/wire/messages.h"
#include "dwspool/wire/writer.h"

#include "dwspool/session/cleaner.h"

#include "fuzz/input.h"

using namespace dwspool;

namespace {

// Messages that get further than random bytes do.
std::string client_message(fuzz::Input& input) {
  static constexpr std::string_view texts[] = {"select 1",
                                               "begin",
                                               "commit",
                                               "rollback",
                                               "set timezone to 'PRC'",
                                               "reset timezone",
                                               "reset all",
                                               "discard all",
                                               "deallocate all",
                                               "deallocate a",
                                               "create temp table t()",
                                               "begin; select 1",
                                               "savepoint x",
                                               "copy t from stdin",
                                               "set work_mem to '1MB'",
                                               "",
                                               "listen x",
                                               "unlisten *"};
  std::string out;
  const std::string_view text = texts[input.byte() % std::size(texts)];
  const std::string_view name = (input.byte() & 1U) != 0 ? "a" : "";
  switch (input.byte() % 14) {
    case 0:
    case 1:
    case 2:
      wire::append_query(out, text);
      break;
    case 3:
      wire::append_parse(out, name, text, std::string_view("\0\0", 2));
      break;
    case 4:
      wire::append_bind(out, name);
      break;
    case 5:
      wire::append_execute(out);
      break;
    case 6:
      wire::append_sync(out);
      break;
    case 7:
      wire::append_close(out, 'S', name);
      break;
    case 8:
      wire::MessageWriter(out, 'D').u8('S').cstring(name).end();
      break;
    case 9:
      wire::MessageWriter(out, 'H').end();
      break;
    case 10:
      wire::MessageWriter(out, 'd').bytes(text).end();
      break;
    case 11:
      wire::MessageWriter(out, 'c').end();
      break;
    case 12:
      wire::MessageWriter(out, 'F').bytes(text).end();
      break;
    default:
      out = input.bytes(input.byte());
      break;
  }
  return out;
}

std::string server_message(fuzz::Input& input) {
  static constexpr std::string_view tags[] = {"SELECT 1", "BEGIN", "COMMIT",      "ROLLBACK",
                                              "SET",      "RESET", "DISCARD ALL", "DEALLOCATE ALL",
                                              "COPY 1"};
  std::string out;
  switch (input.byte() % 16) {
    case 0:
    case 1:
    case 2:
      wire::append_ready_for_query(out, wire::TxStatus::idle);
      break;
    case 3:
      wire::append_ready_for_query(out, wire::TxStatus::in_transaction);
      break;
    case 4:
      wire::append_ready_for_query(out, wire::TxStatus::failed);
      break;
    case 5:
    case 6:
      wire::append_command_complete(out, tags[input.byte() % std::size(tags)]);
      break;
    case 7:
      wire::append_empty(out, '1');
      break;
    case 8:
      wire::append_empty(out, '2');
      break;
    case 9:
      wire::append_empty(out, '3');
      break;
    case 10:
      out = wire::encode({wire::Severity::error, "22012", "error", "", "", ""});
      break;
    case 11:
      wire::append_parameter_status(out, "TimeZone", (input.byte() & 1U) != 0 ? "PRC" : "UTC");
      break;
    case 12:
      wire::MessageWriter(out, 'G').u8(0).u16(0).end();
      break;
    case 13:
      wire::append_empty(out, 'n');
      break;
    case 14:
      wire::MessageWriter(out, 'D').u16(0).end();
      break;
    default:
      out = input.bytes(input.byte());
      break;
  }
  return out;
}

class World {
 public:
  World(PoolMode mode, bool with_settings)
      : context_{{mode, true, 3, 4096, nullptr}, statements_, settings_, reported_, welcome_} {
    session::SettingSet startup;
    if (with_settings) startup.set("work_mem", "'1MB'");
    session_ = std::make_unique<session::Session>(context_, 1, settings_.intern(startup),
                                                  wire::KeyData{1, "key!"});
    for (session::Backend& backend : backends_) {
      session::ReportedSet reported;
      reported.set("TimeZone", "UTC");
      reported.set("server_version", "15");
      backend.reported = reported_.intern(reported);
      backend.applied = settings_.intern({});
    }
    follow(session_->start(out_));
  }

  void client(std::string_view bytes) {
    client_pending_ += bytes;
    if (client_pending_.size() > 100000) client_pending_.clear();
    run_client();
  }

  void server(std::string_view bytes) {
    if (lent_ == nullptr) return;
    server_pending_ += bytes;
    std::string_view view = server_pending_;
    const session::Next next = session_->on_server(view, out_);
    fuzz::require(view.size() <= server_pending_.size());
    server_pending_.erase(0, server_pending_.size() - view.size());
    follow(next);
    if (!ended_) run_client();
  }

  void grant(std::size_t which) {
    if (!waiting_ || ended_) return;
    waiting_ = false;
    lent_ = &backends_[which % std::size(backends_)];
    follow(session_->on_granted(*lent_, out_));
    run_client();
  }

  void refuse() {
    if (!waiting_ || ended_) return;
    waiting_ = false;
    follow(session_->on_acquire_failed({wire::Severity::error, "08006", "no", "", "", ""}, out_));
    run_client();
  }

  void lose() {
    if (lent_ == nullptr || ended_) return;
    session::Backend& lost = *lent_;
    server_pending_.clear();
    const session::Next next = session_->on_backend_lost("lost", out_);
    renew(lost);
    lent_ = nullptr;
    follow(next);
    if (!ended_) run_client();
  }

  void cancel() {
    if (!waiting_ || ended_) return;
    waiting_ = false;
    follow(session_->on_cancel_while_waiting(out_));
    run_client();
  }

  void drain() {
    if (!ended_) follow(session_->drain(out_));
  }

  // To another process, as far as that is possible.
  void move() {
    if (lent_ != nullptr || waiting_ || ended_ || !client_pending_.empty()) return;
    const std::optional<session::SessionImage> image = session_->image();
    if (!image) return;
    const auto arrived = session::decode_session_image(session::encode(*image));
    fuzz::require(arrived.has_value());
    session_ =
        std::make_unique<session::Session>(context_, ++number_, *arrived, wire::KeyData{1, "key!"});
    fuzz::require(session_->image().has_value());
    fuzz::require(session::encode(*session_->image()) == session::encode(*image));
  }

  void leave(fuzz::Input& input) {
    session::Backend* left = session_->part();
    fuzz::require(left == lent_);
    if (left == nullptr || !session::Cleaner::needed(*left)) return;
    out_.clear();
    session::Cleaner cleaner(*left, reported_, settings_.intern({}));
    auto state = cleaner.start(out_);
    std::string pending;
    for (int i = 0; i < 100 && !input.empty() && state != session::Cleaner::State::done &&
                    state != session::Cleaner::State::failed;
         ++i) {
      pending += server_message(input);
      std::string_view view = pending;
      state = cleaner.on_server(view, out_);
      pending.erase(0, pending.size() - view.size());
    }
    if (state == session::Cleaner::State::done) {
      fuzz::require(left->replies.quiet() && left->status == wire::TxStatus::idle && !left->dirty);
    }
  }

  bool ended() const { return ended_; }

 private:
  void run_client() {
    for (int i = 0; i < 1000 && !ended_ && !waiting_; ++i) {
      std::string_view view = client_pending_;
      const std::size_t before = view.size();
      const session::Next next = session_->on_client(view, out_);
      fuzz::require(view.size() <= before);
      client_pending_.erase(0, before - view.size());
      follow(next);
      if (next == session::Next::need_input) return;
    }
  }

  void follow(session::Next next) {
    out_.to_client.flatten();
    out_.to_server.flatten();
    if (lent_ == nullptr) fuzz::require(out_.to_server.empty());
    out_.clear();
    switch (next) {
      case session::Next::need_input:
        break;
      case session::Next::need_backend:
        waiting_ = true;
        break;
      case session::Next::release:
        fuzz::require(lent_ != nullptr && !session_->attached());
        if (!lent_->retire && !lent_->dirty) {
          fuzz::require(lent_->replies.quiet());
          fuzz::require(lent_->status == wire::TxStatus::idle);
        }
        if (lent_->retire || lent_->dirty) renew(*lent_);
        lent_ = nullptr;
        server_pending_.clear();
        break;
      case session::Next::close:
        ended_ = true;
        break;
    }
    if (lent_ != nullptr && !session_->attached()) {
      renew(*lent_);  // the session gave it up as lost
      lent_ = nullptr;
      server_pending_.clear();
    }
  }

  // In place of a backend that is gone, a new one.
  void renew(session::Backend& backend) {
    const session::ReportedPtr reported = backend.reported;
    backend = session::Backend{};
    backend.reported = reported;
    backend.applied = settings_.intern({});
  }

  session::PreparedTable statements_;
  session::Interner<session::SettingSet> settings_;
  session::Interner<session::ReportedSet> reported_;
  session::WelcomeCache welcome_;
  session::SessionContext context_;
  session::Output out_;
  session::Backend backends_[2];
  session::Backend* lent_ = nullptr;
  std::unique_ptr<session::Session> session_;
  std::string client_pending_;
  std::string server_pending_;
  std::uint64_t number_ = 1;
  bool waiting_ = false;
  bool ended_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::uint8_t flags = input.byte();
  if ((flags & 16U) != 0) {
    const auto image = session::decode_session_image(input.rest());
    if (image) fuzz::require(session::decode_session_image(session::encode(*image)).has_value());
    return 0;
  }
  World world(static_cast<PoolMode>(flags % 3), (flags & 8U) != 0);
  for (int step = 0; step < 500 && !input.empty() && !world.ended(); ++step) {
    switch (input.byte() % 12) {
      case 0:
      case 1:
      case 2:
      case 3:
        world.client(client_message(input));
        break;
      case 4:
      case 5:
      case 6:
      case 7:
        world.server(server_message(input));
        break;
      case 8:
        world.grant(input.byte());
        break;
      case 9:
        world.lose();
        break;
      case 10:
        if ((input.byte() & 1U) != 0)
          world.refuse();
        else
          world.cancel();
        break;
      default:
        switch (input.byte()) {
          case 7:
            world.drain();
            break;
          case 8:
          case 9:
            world.move();
            break;
          default:
            break;
        }
        break;
    }
  }
  world.leave(input);
  return 0;
}
