// Coordinators: who gets in, and how they fall. The log-in of a process is here, too.
#include <algorithm>
#include <utility>

#include "dwspool/wire/startup.h"
#include "dwspool/wire/types.h"

#include "sim/server.h"

namespace dwspool::sim {
namespace {

const auth::UserSecret& secret() {
  static const auth::UserSecret made = [] {
    auth::UserSecret plain = auth::parse_user_secret(backend_password);
    // One iteration: the simulation has better things to do than to hash.
    plain.scram = auth::make_scram_verifier(backend_password, "salt of 16 bytes", 1);
    return plain;
  }();
  return made;
}

std::string fatal(std::string_view sqlstate, std::string_view text) {
  wire::ErrorReport report;
  report.severity = wire::Severity::fatal;
  report.sqlstate = sqlstate;
  report.message = text;
  return wire::encode(report);
}

}  // namespace

bool ServerProcess::on_startup() {
  std::string_view rest = in_;
  wire::StartupPacket packet = wire::read_startup_packet(rest, wire::max_startup_length);
  if (std::holds_alternative<wire::NeedMore>(packet)) {
    if (ended_) finish();
    return false;
  }
  in_.erase(0, in_.size() - rest.size());
  if (const auto* cancel = std::get_if<wire::CancelRequest>(&packet)) {
    cluster_->cancel(coordinator_, *cancel);
    finish();
    return false;
  }
  const auto* startup = std::get_if<wire::StartupMessage>(&packet);
  if (startup == nullptr) context_->violate("a server was sent a strange start-up packet");
  const Habits& habits = cluster_->habits(coordinator_);
  if (startup->version != wire::protocol_3_0 && !habits.knows_3_51) {
    send(fatal("0A000", "unsupported frontend protocol 3.51: server supports 3.0"));
    finish();
    return false;
  }
  if (cluster_->promoting() || !cluster_->refusal().empty()) {
    const bool promoting = cluster_->promoting();
    send(fatal(promoting ? "57P03" : cluster_->refusal(), "not now"));
    finish();
    return false;
  }
  if (startup->version != wire::protocol_3_0 && habits.manners == Manners::postgres) {
    std::string bytes;
    wire::append_negotiate_protocol_version(bytes, wire::protocol_3_0, {});
    send(bytes);
  }
  auth::ClientAuth::Request request;
  request.method = habits.method;
  request.user = startup->find("user");
  request.secret = secret();
  request.random = "123456789012345678901234";
  auth_.emplace(std::move(request));
  const auth::ClientAuth::Step step = auth_->start();
  send(step.send);
  if (step.verdict == auth::ClientAuth::Verdict::accepted) send_welcome();
  return true;
}

void ServerProcess::on_password(std::string_view body) {
  const auth::ClientAuth::Step step = auth_->on_answer(body);
  send(step.send);
  if (step.verdict == auth::ClientAuth::Verdict::accepted) {
    send_welcome();
  } else if (step.verdict != auth::ClientAuth::Verdict::need_answer) {
    context_->violate("a server was sent a wrong password");
  }
}

void ServerProcess::send_welcome() {
  skip_login();
  std::string bytes;
  const bool gauss = cluster_->habits(coordinator_).manners == Manners::gauss;
  wire::append_parameter_status(bytes, "server_version", gauss ? "9.2.4" : "15.1");
  wire::append_parameter_status(bytes, gauss ? "is_sysadmin" : "is_superuser", "off");
  wire::append_parameter_status(bytes, "TimeZone", told_["timezone"]);
  wire::append_parameter_status(bytes, "application_name", told_["application_name"]);
  wire::append_key_data(bytes, key_);
  wire::append_ready_for_query(bytes, wire::TxStatus::idle);
  send(bytes);
}

// As if it had logged in.
void ServerProcess::skip_login() {
  model_.emplace(cluster_->database(), server_defaults());
  for (const auto& [name, value] : server_defaults()) {
    if (is_reported(name)) told_[name] = value;
  }
  key_ = cluster_->new_key();
}

Cluster::Cluster(Context& context, std::size_t coordinators)
    : context_(&context), coordinators_(coordinators) {}

ServerProcess* Cluster::connect(std::size_t coordinator, Plug plug) {
  if (!coordinators_[coordinator].up) return nullptr;
  processes_.push_back(std::make_unique<ServerProcess>(*this, coordinator, ++last_number_));
  processes_.back()->attach(std::move(plug));
  return processes_.back().get();
}

void Cluster::crash(std::size_t coordinator) {
  coordinators_[coordinator].up = false;
  for (const auto& process : processes_) {
    if (!process->gone() && process->coordinator() == coordinator) process->crash();
  }
}

void Cluster::begin_promotion() {
  promoting_ = true;
  for (const auto& process : processes_) {
    if (!process->gone()) process->crash();
  }
  if (!forgetful_ || !context_->random.chance(50)) return;
  context_->note([] { return std::string("  and the last transaction is not on it"); });
  database_.forget_last();
}

void Cluster::collect(std::vector<ServerProcess*>& processes) {
  for (const auto& process : processes_) {
    if (process->can_step()) processes.push_back(process.get());
  }
}

ServerProcess* Cluster::behind(const Plug& plug) const {
  for (const auto& process : processes_) {
    if (!process->gone() && plug && process->plug().wire() == plug.wire()) return process.get();
  }
  return nullptr;
}

void Cluster::cancel(std::size_t coordinator, const wire::CancelRequest& request) {
  for (const auto& process : processes_) {
    if (process->coordinator() != coordinator || process->gone()) continue;
    if (process->key().pid == request.pid && process->key().secret == request.secret) {
      process->cancel();
    }
  }
}

void Cluster::end_process(std::size_t coordinator, std::uint32_t pid) {
  for (const auto& process : processes_) {
    if (process->coordinator() != coordinator || process->gone()) continue;
    if (process->key().pid != pid) continue;
    context_->note([&] { return "process " + std::to_string(pid) + " is ended"; });
    process->terminate();
  }
}

wire::KeyData Cluster::new_key() {
  wire::KeyData key;
  key.pid = static_cast<std::uint32_t>(1000 + last_number_);
  const std::uint64_t random = context_->random.next();
  for (unsigned i = 0; i < 4; ++i) key.secret += static_cast<char>(random >> (8 * i) & 0xffU);
  return key;
}

void Cluster::sweep() {
  std::erase_if(processes_, [](const auto& process) { return process->gone(); });
}

}  // namespace dwspool::sim
