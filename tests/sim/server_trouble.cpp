// What a server process does while the nodes behind it are in trouble, and how rows become durable.
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
  cluster_->make_durable(model.take_committed(), model.committed_view());
}

void Cluster::make_durable(const std::vector<std::uint64_t>& numbers, std::uint64_t view) {
  for (const std::uint64_t number : numbers) {
    context_->note([&] { return "  row " + std::to_string(number) + " is durable"; });
    if (row_watch_) row_watch_(number);
  }
  database_.commit(numbers, view);
}

void Database::commit(const std::vector<std::uint64_t>& numbers, std::uint64_t view) {
  for (const std::uint64_t number : numbers) {
    Row& row = rows_[number];
    ++row.count;
    row.view = view;
  }
  if (!numbers.empty()) last_ = numbers;
}

void Database::forget_last() {
  for (const std::uint64_t number : last_) {
    rows_.erase(number);
    forgotten_.insert(number);
  }
  last_.clear();
}

}  // namespace dwspool::sim
