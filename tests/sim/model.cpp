#include "sim/model.h"

#include <algorithm>
#include <utility>

namespace dwspool::sim {
namespace {

Answer error(std::string_view sqlstate) {
  Answer answer;
  answer.sqlstate = sqlstate;
  return answer;
}
Answer done(std::string tag) {
  Answer answer;
  answer.tag = std::move(tag);
  return answer;
}
Answer row(std::string value) {
  Answer answer;
  answer.tag = "SELECT 1";
  answer.row = std::move(value);
  return answer;
}

}  // namespace

bool is_reported(std::string_view name) {
  return name == "timezone" || name == "application_name";
}

const Settings& server_defaults() {
  static const Settings defaults = {{"application_name", ""},
                                    {"lock_timeout", "0"},
                                    {"search_path", "public"},
                                    {"timezone", "UTC"},
                                    {"work_mem", "4MB"}};
  return defaults;
}

bool SessionModel::leaves_failed(Op op) const {
  return op == Op::commit || op == Op::rollback || (op == Op::rollback_to && !lost_);
}

Answer SessionModel::run(const Statement& statement, bool alone) {
  if (statement.op == Op::empty) {
    Answer answer;
    answer.empty = true;
    return answer;
  }
  if (state_ == State::failed && !leaves_failed(statement.op)) return error("25P02");
  if (state_ == State::none) {
    state_ = State::implicit;
    before_ = state_now_;
  }
  switch (statement.op) {
    case Op::begin:
    case Op::commit:
    case Op::rollback:
    case Op::savepoint:
    case Op::release:
    case Op::rollback_to:
      return run_transaction(statement);
    case Op::insert:
    case Op::insert_doomed:
      writes_.push_back(statement.number);
      doomed_ = doomed_ || statement.op == Op::insert_doomed;
      return done("INSERT 0 1");
    case Op::insert_by_call:
      writes_.push_back(statement.number);
      return row(std::to_string(statement.number));
    case Op::select_echo:
    case Op::sleep:
      return row(std::to_string(statement.number));
    case Op::select_row: {
      const bool mine =
          std::find(writes_.begin(), writes_.end(), statement.number) != writes_.end();
      return row(mine || rows_->contains(statement.number) ? "there" : "absent");
    }
    case Op::insert_token:
      if (rows_->has_token(statement.value)) return error("23505");
      token_ = statement.value;
      return done("INSERT 0 1");
    case Op::ask_tokens:
    case Op::end_process:
      return row("1");
    case Op::fail:
      return error("22012");
    case Op::set:
    case Op::set_local:
    case Op::reset:
    case Op::reset_all:
    case Op::show:
    case Op::discard_all:
      return run_settings(statement, alone);
    case Op::copy_in: {
      Answer answer;
      answer.copy_in = true;
      return answer;
    }
    default:
      return run_session(statement);
  }
}

Answer SessionModel::run_transaction(const Statement& statement) {
  switch (statement.op) {
    case Op::begin:
      state_ = State::open;
      return done(statement.value);
    case Op::commit:
      return commit();
    case Op::rollback:
      abort();
      return done("ROLLBACK");
    case Op::savepoint:
      if (state_ != State::open) return error("25P01");
      savepoints_.push_back({statement.name, state_now_, writes_.size(), doomed_});
      return done("SAVEPOINT");
    default:
      break;
  }
  if (state_ == State::implicit) return error("25P01");
  const auto found = std::find_if(savepoints_.rbegin(), savepoints_.rend(),
                                  [&](const Savepoint& s) { return s.name == statement.name; });
  if (found == savepoints_.rend()) return error("3B001");
  const auto index = static_cast<std::size_t>(savepoints_.rend() - found) - 1;
  if (statement.op == Op::release) {
    savepoints_.resize(index);
    return done("RELEASE");
  }
  state_now_ = savepoints_[index].before;
  writes_.resize(savepoints_[index].writes);
  doomed_ = savepoints_[index].doomed;
  savepoints_.resize(index + 1);
  state_ = State::open;
  return done("ROLLBACK");
}

Answer SessionModel::run_settings(const Statement& statement, bool alone) {
  switch (statement.op) {
    case Op::set:
      state_now_.session[statement.name] = statement.value;
      state_now_.local.erase(statement.name);
      return done("SET");
    case Op::set_local:
      if (state_ == State::open) state_now_.local[statement.name] = statement.value;
      return done("SET");
    case Op::reset:
      state_now_.session.erase(statement.name);
      state_now_.local.erase(statement.name);
      return done(statement.value.empty() ? "RESET" : "SET");
    case Op::reset_all:
      state_now_.session.clear();
      state_now_.local.clear();
      return done("RESET");
    case Op::show: {
      Answer answer = row(value(statement.name));
      answer.tag = "SHOW";
      return answer;
    }
    default:
      break;
  }
  // DISCARD ALL
  if (state_ != State::implicit || !alone) return error("25001");
  state_now_ = Snapshot{};
  locks_.clear();
  prepared_.clear();
  return done("DISCARD ALL");
}

Answer SessionModel::run_session(const Statement& statement) {
  switch (statement.op) {
    case Op::prepare: {
      if (prepared_.contains(statement.name)) return error("42P05");
      Statement echo;
      echo.op = Op::select_echo;
      echo.number = statement.number;
      prepared_[statement.name] = {echo, true};
      return done("PREPARE");
    }
    case Op::execute: {
      const auto found = prepared_.find(statement.name);
      if (found == prepared_.end()) return error("26000");
      return row(std::to_string(found->second.statement.number));
    }
    case Op::deallocate:
      if (prepared_.erase(statement.name) == 0) return error("26000");
      return done("DEALLOCATE");
    case Op::deallocate_all:
      prepared_.clear();
      return done("DEALLOCATE ALL");
    case Op::close_all:
      return done("CLOSE CURSOR ALL");
    case Op::lock:
      locks_.insert(statement.number);
      return row("");
    case Op::unlock:
      return row(locks_.erase(statement.number) > 0 ? "t" : "f");
    case Op::unlock_all:
      locks_.clear();
      return row("");
    case Op::temporary:
      if (!state_now_.temporary.insert(statement.name).second) return error("42P07");
      return done("CREATE TABLE");
    case Op::session_state:
      return row(session_state());
    case Op::set_authorization:
      return done("SET");
    default:
      return error("42601");
  }
}

Answer SessionModel::copied(const std::vector<std::uint64_t>& numbers) {
  writes_.insert(writes_.end(), numbers.begin(), numbers.end());
  return done("COPY " + std::to_string(numbers.size()));
}

Answer SessionModel::commit() {
  if (state_ == State::failed) {
    abort();
    return done("ROLLBACK");
  }
  if (doomed_) {
    abort();
    return error("23503");
  }
  committed_.insert(committed_.end(), writes_.begin(), writes_.end());
  committed_view_ = view_;
  committed_token_ = token_;
  end();
  return done("COMMIT");
}

Answer SessionModel::finish() {
  if (state_ != State::implicit) return {};
  Answer answer = commit();
  answer.tag.clear();
  return answer;
}

void SessionModel::fail() {
  if (state_ == State::open || state_ == State::failed) {
    state_ = State::failed;
    portal_.reset();
    return;
  }
  abort();
}

void SessionModel::lose() {
  fail();
  lost_ = failed();
}

void SessionModel::abort() {
  if (state_ != State::none) state_now_ = before_;
  end();
}

void SessionModel::end() {
  state_ = State::none;
  state_now_.local.clear();
  savepoints_.clear();
  writes_.clear();
  doomed_ = lost_ = false;
  view_ = 0;
  token_.clear();
  portal_.reset();
}

void SessionModel::saw(std::uint64_t number, std::string_view shown) {
  view_ = (view_ ^ (number * 4 + shown.size())) * 0x100000001b3ULL + 1;
}

Answer SessionModel::parse(const std::string& name, std::string_view text) {
  const Statement statement = read_statement(text);
  if (failed() && !leaves_failed(statement.op)) return error("25P02");
  if (!name.empty() && prepared_.contains(name)) return error("42P05");
  prepared_[name] = {statement, false};
  return {};
}

Answer SessionModel::bind(const std::string& name, std::uint64_t parameter) {
  const auto found = prepared_.find(name);
  if (found == prepared_.end()) return error("26000");
  if (failed() && !leaves_failed(found->second.statement.op)) return error("25P02");
  portal_ = found->second.statement;
  if (portal_->parameter) portal_->number = parameter;
  return {};
}

Answer SessionModel::describe_statement(const std::string& name) {
  const auto found = prepared_.find(name);
  if (found == prepared_.end()) return error("26000");
  const bool rows = has_rows(found->second.statement);
  if (failed() && rows) return error("25P02");
  Answer answer;
  if (rows) answer.row = "";
  return answer;
}

Answer SessionModel::describe_portal() {
  if (!portal_) return error("34000");
  const bool rows = has_rows(*portal_);
  if (failed() && rows) return error("25P02");
  Answer answer;
  if (rows) answer.row = "";
  return answer;
}

void SessionModel::drop_unnamed() {
  prepared_.erase("");
  portal_.reset();
}

wire::TxStatus SessionModel::status() const {
  if (state_ == State::open) return wire::TxStatus::in_transaction;
  return state_ == State::failed ? wire::TxStatus::failed : wire::TxStatus::idle;
}

bool SessionModel::would_commit(const Statement& statement) const {
  return statement.op == Op::commit && state_ != State::failed;
}

std::vector<std::uint64_t> SessionModel::take_committed() {
  return std::exchange(committed_, {});
}

std::string SessionModel::value(const std::string& name) const {
  for (const Settings* settings : {&state_now_.local, &state_now_.session, &defaults_}) {
    if (const auto found = settings->find(name); found != settings->end()) return found->second;
  }
  return {};
}

std::string SessionModel::session_state() const {
  std::string text;
  for (const std::uint64_t lock : locks_) text += "lock " + std::to_string(lock) + ' ';
  for (const std::string& name : state_now_.temporary) text += "table " + name + ' ';
  for (const auto& [name, prepared] : prepared_) {
    if (prepared.by_sql) text += "statement " + name + ' ';
  }
  return text;
}

std::vector<std::string> SessionModel::savepoint_names() const {
  std::vector<std::string> names;
  for (const Savepoint& savepoint : savepoints_) names.push_back(savepoint.name);
  return names;
}

}  // namespace dwspool::sim
