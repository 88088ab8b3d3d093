// A server process: what it reads, and what it answers.
#include "sim/server.h"

#include <cstdlib>
#include <utility>

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/frame.h"
#include "dwspool/wire/startup.h"
#include "dwspool/wire/writer.h"

namespace dwspool::sim {
namespace {

constexpr std::string_view catalog_question_head = "with recursive asked";

namespace be = wire::backend;
namespace fe = wire::frontend;

std::string report_of(wire::Severity severity, std::string_view sqlstate, std::string_view text) {
  wire::ErrorReport report;
  report.severity = severity;
  report.sqlstate = sqlstate;
  report.message = text;
  return wire::encode(report);
}

void append_row(std::string& out, std::string_view value) {
  wire::MessageWriter(out, be::data_row)
      .u16(1)
      .u32(static_cast<std::uint32_t>(value.size()))
      .bytes(value)
      .end();
}

void append_row_description(std::string& out) {
  wire::MessageWriter(out, be::row_description)
      .u16(1)
      .cstring("value")
      .u32(0)
      .u16(0)
      .u32(25)
      .u16(0xffff)
      .u32(0xffffffff)
      .u16(0)
      .end();
}

}  // namespace

ServerProcess::ServerProcess(Cluster& cluster, std::size_t coordinator, int number)
    : cluster_(&cluster),
      context_(&cluster.context()),
      coordinator_(coordinator),
      number_(number) {}

void ServerProcess::attach(Plug plug) {
  plug_ = std::move(plug);
  plug_.attach(*this);
}

void ServerProcess::on_end(bool clean) {
  ended_ = true;
  // With a reset, what was received and not yet read is lost, or was read just before.
  if (!clean && context_->random.chance(50)) in_.clear();
  // It may take its time to commit all the same.
  const bool commits =
      model_ && (!model_->pending_token().empty() || in_.find("commit_token") != std::string::npos);
  if (commits && context_->apart.chance(80)) lingers_ = context_->apart.between(5, 200);
}

bool ServerProcess::can_step() const {
  if (gone_) return false;
  if (stage_ != Stage::idle && stage_ != Stage::copying) return true;
  if (stage_ == Stage::copying && cancelled_) return true;
  if (ended_) return true;
  if (!model_ && !auth_) return in_.size() >= 8;
  return wire::peek_frame(in_).status == wire::FrameStatus::complete;
}

void ServerProcess::step() {
  if (lingers_ > 0) {
    --lingers_;
    return;
  }
  while (!gone_ && micro_step()) {
    if (context_->random.chance(25)) return;
  }
}

bool ServerProcess::micro_step() {
  switch (stage_) {
    case Stage::idle:
      return take_message();
    case Stage::copying:
      if (cancelled_) {
        error("57014", "canceling statement due to user request");
        return true;
      }
      return take_message();
    case Stage::statement:
      stage_ = Stage::executing;
      // The row that is read may be anybody's.
      running_ = statements_.front().op == Op::select_row ? 0 : statements_.front().number;
      return true;
    case Stage::executing:
      run_statement();
      return true;
    case Stage::committing: {
      const Statement commit_statement = [] {
        Statement s;
        s.op = Op::commit;
        return s;
      }();
      if (trouble_at_commit()) return true;
      const Answer answer =
          then_ == Then::statement ? model_->run(commit_statement, alone_) : model_->finish();
      if (!answer.ok()) {
        const bool sync = then_ == Then::sync;
        error(answer.sqlstate, "a deferred constraint is violated");
        if (sync) {
          skipping_ = false;
          ready();
        }
        return true;
      }
      make_durable(*model_);
      if (then_ == Then::statement) held_ = answer;
      stage_ = Stage::committed;
      return true;
    }
    case Stage::committed:
      after_commit();
      return true;
  }
  return false;
}

void ServerProcess::after_commit() {
  stage_ = Stage::idle;
  running_ = 0;
  if (then_ == Then::sync) {
    ready();
  } else {
    complete(std::exchange(held_, {}));
  }
}

bool ServerProcess::take_message() {
  if (!model_ && !auth_) return on_startup();
  const wire::FrameView view = wire::peek_frame(in_);
  if (view.status != wire::FrameStatus::complete) {
    if (view.status == wire::FrameStatus::bad) {
      context_->violate("process " + std::to_string(number_) + " was sent nonsense: " + in_);
    }
    if (ended_) finish();
    return false;
  }
  const std::string message = in_.substr(0, view.total);
  in_.erase(0, view.total);
  const std::string_view body = std::string_view(message).substr(wire::header_size);
  if (!model_) {
    if (view.type != fe::password) context_->violate("a server was sent no password in its log-in");
    on_password(body);
    return true;
  }
  return on_message(view.type, body);
}

bool ServerProcess::on_message(char type, std::string_view body) {
  if (stage_ == Stage::copying) {
    on_copy(type, body);
    return true;
  }
  cancelled_ = false;
  if (type == fe::terminate) {
    finish();
    return false;
  }
  if (skipping_ && type != fe::sync) return true;
  simple_ = type == fe::query;
  alone_ = true;
  switch (type) {
    case fe::query: {
      model_->drop_unnamed();
      const auto text = wire::read_query(body);
      if (text && text->starts_with(catalog_question_head)) {
        answer_catalog_question(*text);
        return true;
      }
      statements_.clear();
      for (const std::string_view part : split_statements(text.value_or(""))) {
        statements_.push_back(read_statement(part));
      }
      alone_ = statements_.size() <= 1;
      if (statements_.empty()) {
        std::string bytes;
        wire::append_empty(bytes, be::empty_query_response);
        send(bytes);
      }
      next_statement();
      return true;
    }
    case fe::parse:
      on_parse(body);
      return true;
    case fe::bind:
      on_bind(body);
      return true;
    case fe::describe:
      on_describe(body);
      return true;
    case fe::execute:
      on_execute(body);
      return true;
    case fe::close:
      on_close(body);
      return true;
    case fe::sync:
      skipping_ = false;
      if (model_->finish_commits()) {
        commit(Then::sync);
      } else {
        ready();
      }
      return true;
    case fe::flush:
    case fe::copy_data:
    case fe::copy_done:
    case fe::copy_fail:
      return true;
    default:
      context_->violate(std::string("a server was sent a message of type ") + type);
  }
}

// What dwspool asks before it runs a read again: the table changes nothing, nor does a function
// but for those that wait or lock.
void ServerProcess::answer_catalog_question(std::string_view text) {
  std::string bytes;
  for (std::size_t at = text.find("('"); at != std::string_view::npos;
       at = text.find("('", at + 1)) {
    const char kind = text[at + 2];
    const std::size_t begin = text.find(" '", at) + 2;
    const std::string_view name = text.substr(begin, text.find('\'', begin) - begin);
    if ((kind != 'r' && kind != 'f') || text.substr(at + 3, 8) != "'::text,") continue;
    const bool harmless = kind == 'r' ? name == "t" : name == "fail" || name == "session_state";
    wire::MessageWriter row(bytes, be::data_row);
    row.u16(3);
    for (const std::string_view value :
         {std::string_view(&kind, 1), name, std::string_view(harmless ? "t" : "f")}) {
      row.u32(static_cast<std::uint32_t>(value.size())).bytes(value);
    }
    row.end();
  }
  wire::append_command_complete(bytes, "SELECT");
  send(bytes);
  ready();
}

void ServerProcess::next_statement() {
  if (!statements_.empty()) {
    stage_ = Stage::statement;
    return;
  }
  stage_ = Stage::idle;
  running_ = 0;
  if (simple_) ready();
}

void ServerProcess::run_statement() {
  const Statement& statement = statements_.front();
  if (cancelled_) {
    error("57014", "canceling statement due to user request");
    return;
  }
  if (statement.op == Op::sleep && !context_->random.chance(25)) return;
  if (model_->would_commit(statement)) {
    statements_.pop_front();
    commit(Then::statement);
    return;
  }
  if (in_trouble(statement)) return;
  if (statement.op == Op::outcome || statement.op == Op::look_outcome) {
    static_cast<void>(answer_outcome(statement));
    return;
  }
  if (statement.op == Op::end_process) {
    cluster_->end_process(coordinator_, static_cast<std::uint32_t>(std::stoul(statement.value)));
  }
  const bool refused =
      cluster_->habits(coordinator_).manners == Manners::gauss && statement.op == Op::discard_all;
  Answer answer;
  if (refused) {
    answer.sqlstate = "0A000";
  } else {
    answer = model_->run(statement, alone_);
  }
  if (!answer.ok()) {
    error(answer.sqlstate, "no");
    return;
  }
  if (answer.copy_in) {
    stage_ = Stage::copying;
    copied_.clear();
    copy_line_.clear();
    std::string bytes;
    wire::MessageWriter(bytes, be::copy_in_response).u8(0).u16(0).end();
    send(bytes);
    return;
  }
  if (statement.op == Op::select_row) model_->saw(statement.number, *answer.row);
  statements_.pop_front();
  complete(answer);
}

void ServerProcess::complete(const Answer& answer) {
  running_ = 0;
  if (simple_ && statements_.empty() && model_->finish_commits()) {
    // The last word comes behind the commit.
    held_ = answer;
    commit(Then::text_end);
    return;
  }
  std::string bytes;
  if (answer.row) {
    if (simple_) append_row_description(bytes);
    append_row(bytes, *answer.row);
  }
  if (answer.empty) {
    wire::append_empty(bytes, be::empty_query_response);
  } else {
    wire::append_command_complete(bytes, answer.tag);
  }
  if (cluster_->habits(coordinator_).reports_at_once) report();
  send(bytes);
  next_statement();
}

void ServerProcess::commit(Then then) {
  then_ = then;
  stage_ = Stage::committing;
}

void ServerProcess::error(std::string_view sqlstate, std::string_view text) {
  model_->fail();
  statements_.clear();
  held_ = {};
  running_ = 0;
  cancelled_ = false;
  stage_ = Stage::idle;
  send(report_of(wire::Severity::error, sqlstate, text));
  if (simple_) {
    ready();
  } else {
    skipping_ = true;
  }
}

void ServerProcess::report() {
  std::string bytes;
  for (auto& [name, value] : told_) {
    const std::string now = model_->value(name);
    if (now == value) continue;
    value = now;
    wire::append_parameter_status(bytes, name == "timezone" ? "TimeZone" : name, value);
  }
  if (!bytes.empty()) send(bytes);
}

void ServerProcess::ready() {
  report();
  std::string bytes;
  wire::append_ready_for_query(bytes, model_->status());
  send(bytes);
}

void ServerProcess::on_parse(std::string_view body) {
  const auto message = wire::read_parse(body);
  if (!message) context_->violate("a server was sent a malformed Parse");
  const Answer answer = model_->parse(std::string(message->name), message->query);
  if (!answer.ok()) {
    error(answer.sqlstate, "no");
    return;
  }
  std::string bytes;
  wire::append_empty(bytes, be::parse_complete);
  send(bytes);
}

void ServerProcess::on_bind(std::string_view body) {
  wire::Cursor cursor(body);
  cursor.cstring();
  const std::string name(cursor.cstring());
  cursor.u16();
  std::uint64_t parameter = 0;
  if (cursor.u16() > 0) {
    const std::string text(cursor.bytes(cursor.u32()));
    parameter = std::strtoull(text.c_str(), nullptr, 10);
  }
  if (!cursor.ok()) context_->violate("a server was sent a malformed Bind");
  const Answer answer = model_->bind(name, parameter);
  if (!answer.ok()) {
    error(answer.sqlstate, "prepared statement \"" + name + "\" does not exist");
    return;
  }
  std::string bytes;
  wire::append_empty(bytes, be::bind_complete);
  send(bytes);
}

void ServerProcess::on_describe(std::string_view body) {
  const auto target = wire::read_target(body);
  if (!target) context_->violate("a server was sent a malformed Describe");
  const bool statement = target->kind == 'S';
  const Answer answer =
      statement ? model_->describe_statement(std::string(target->name)) : model_->describe_portal();
  if (!answer.ok()) {
    error(answer.sqlstate, "no");
    return;
  }
  std::string bytes;
  if (statement) wire::MessageWriter(bytes, be::parameter_description).u16(0).end();
  if (answer.row) {
    append_row_description(bytes);
  } else {
    wire::append_empty(bytes, be::no_data);
  }
  send(bytes);
}

void ServerProcess::on_close(std::string_view body) {
  const auto target = wire::read_target(body);
  if (!target) context_->violate("a server was sent a malformed Close");
  if (target->kind == 'S') model_->close_statement(std::string(target->name));
  std::string bytes;
  wire::append_empty(bytes, be::close_complete);
  send(bytes);
}

// Nobody here binds a portal that has a name.
void ServerProcess::on_execute(std::string_view body) {
  wire::Cursor in(body);
  const Statement* portal = in.cstring().empty() ? model_->portal() : nullptr;
  if (portal == nullptr) {
    error("34000", "no such portal");
    return;
  }
  statements_.assign(1, *portal);
  stage_ = Stage::statement;
}

void ServerProcess::on_copy(char type, std::string_view body) {
  switch (type) {
    case fe::copy_data:
      copy_line_ += body;
      return;
    case fe::copy_done: {
      std::size_t at = 0;
      while (at < copy_line_.size()) {
        const std::size_t end = copy_line_.find('\n', at);
        if (end == std::string::npos) break;
        copied_.push_back(std::strtoull(copy_line_.c_str() + at, nullptr, 10));
        at = end + 1;
      }
      stage_ = Stage::idle;
      statements_.pop_front();
      complete(model_->copied(copied_));
      return;
    }
    case fe::copy_fail:
      error("57014", "COPY from stdin failed");
      return;
    case fe::sync:
    case fe::flush:
      return;
    default:
      error("08P01", "unexpected message type during COPY from stdin");
      return;
  }
}

void ServerProcess::cancel() {
  if (gone_ || !model_) return;
  if (stage_ != Stage::executing && stage_ != Stage::copying && stage_ != Stage::statement) return;
  cluster_->cancel_hits(*this);
  cancelled_ = true;
}

void ServerProcess::notice() {
  if (gone_ || !model_) return;
  send(report_of(wire::Severity::notice, "00000", "for your information"));
}

void ServerProcess::crash() {
  if (stage_ == Stage::committing && context_->random.chance(50)) micro_step();
  plug_.reset(*context_);
  gone_ = true;
}

void ServerProcess::terminate() {
  if (stage_ == Stage::committing && context_->random.chance(50)) micro_step();
  if (gone_) return;
  send(report_of(wire::Severity::fatal, model_ ? "57P01" : "57P03",
                 model_ ? "terminating connection due to administrator command"
                        : "the database system is shutting down"));
  finish();
}

void ServerProcess::finish() {
  plug_.close();
  gone_ = true;
}

}  // namespace dwspool::sim
