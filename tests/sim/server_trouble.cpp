// What a server process does while the nodes behind it are in trouble, and how rows become durable.
#include <algorithm>

#include "sim/server.h"

namespace dwspool::sim {

void ServerProcess::say_trouble(Trouble trouble) {
  const Saying& saying = say(trouble, context_->random);
  context_->note([&] {
    return "  process " + std::to_string(number_) + " has trouble: " + std::string(saying.text);
  });
  error(saying.sqlstate, saying.text);
}

// True when the statement has failed for that.
bool ServerProcess::in_trouble(const Statement& statement) {
  const Trouble trouble = cluster_->trouble(coordinator_);
  if (trouble == Trouble::none || !reads_table(statement)) return false;
  if (model_->failed()) return false;  // it has not come so far
  if (trouble == Trouble::read_only) {
    if (!writes_table(statement)) return false;
    say_trouble(Trouble::read_only);
    return true;
  }
  if (!context_->random.chance(25)) {
    say_trouble(Trouble::refused);
    return true;
  }
  // Alone, it may have committed on its data node.
  const bool alone = simple_ && alone_ && !model_->in_block() && statement.op != Op::copy_in;
  if (alone && context_->random.chance(50)) {
    SessionModel done = *model_;
    if (done.run(statement, true).ok() && done.finish().ok()) make_durable(done);
  }
  say_trouble(Trouble::broken);
  return true;
}

// A commit of which nobody is told whether it has happened. The coordinator's own part of it is
// undone, whatever the data node has done.
bool ServerProcess::trouble_at_commit() {
  const Trouble trouble = cluster_->trouble(coordinator_);
  if (trouble == Trouble::none || trouble == Trouble::read_only) return false;
  if (model_->failed() || model_->pending().empty() || context_->random.chance(30)) return false;
  if (context_->random.chance(50)) {
    SessionModel done = *model_;
    Statement commit;
    commit.op = Op::commit;
    const Answer answer = then_ == Then::statement ? done.run(commit, true) : done.finish();
    if (answer.ok()) make_durable(done);
  }
  const bool sync = then_ == Then::sync;
  model_->abort();
  say_trouble(Trouble::commit);
  if (sync) {
    skipping_ = false;
    ready();
  }
  return true;
}

void ServerProcess::make_durable(SessionModel& model) {
  cluster_->make_durable(model.take_committed(), model.committed_view(),
                         model.take_committed_token());
}

void Cluster::make_durable(const std::vector<std::uint64_t>& numbers, std::uint64_t view,
                           const std::string& token) {
  for (const std::uint64_t number : numbers) {
    context_->note([&] { return "  row " + std::to_string(number) + " is durable"; });
    if (row_watch_) row_watch_(number);
  }
  if (!token.empty()) {
    context_->note([&] { return "  token " + token + " is durable"; });
    if (database_.has_token(token)) {
      context_->violate("token " + token + " was committed although it was settled already");
    }
  }
  database_.commit(numbers, view, token);
}

bool Cluster::is_pending(const std::string& token) const {
  return std::any_of(processes_.begin(), processes_.end(), [&](const auto& process) {
    return !process->gone() && process->logged_in() && process->model().pending_token() == token;
  });
}

// What dwspool asks about a COMMIT whose answer it has lost. False while somebody is at it.
bool ServerProcess::answer_outcome(const Statement& statement) {
  const std::string& token = statement.value;
  const bool looks = statement.op == Op::look_outcome;
  if (!looks && cluster_->is_pending(token)) return false;
  Database& database = cluster_->database();
  const bool committed =
      looks ? token.starts_with("yes/") || database.committed(token) : database.settle(token);
  context_->note([&] { return "  token " + token + (committed ? " is there" : " is not there"); });
  Answer answer;
  answer.tag = "SELECT 1";
  answer.row = committed ? "committed" : "aborted";
  statements_.pop_front();
  complete(answer);
  return true;
}

void Database::commit(const std::vector<std::uint64_t>& numbers, std::uint64_t view,
                      const std::string& token) {
  if (!token.empty()) tokens_[token] = true;
  for (const std::uint64_t number : numbers) {
    Row& row = rows_[number];
    ++row.count;
    row.view = view;
  }
  if (numbers.empty()) return;
  last_ = numbers;
  last_token_ = token;
}

void Database::forget_last() {
  for (const std::uint64_t number : last_) {
    rows_.erase(number);
    forgotten_.insert(number);
  }
  last_.clear();
  tokens_.erase(last_token_);
  last_token_.clear();
}

}  // namespace dwspool::sim
