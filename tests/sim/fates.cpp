// What a client has been told about its rows, and what must be true of them from then on.
#include <algorithm>

#include "sim/client.h"

namespace dwspool::sim {

void Ledger::set(std::uint64_t number, Fate fate) {
  fates_[number] = fate;
  if (fate == Fate::acked && !rows_->contains(number) && !rows_->forgot(number)) {
    context_->violate("row " + std::to_string(number) + " was acknowledged and is not there");
  }
}

// The request is over, and with it perhaps the transaction: what is known about its rows now.
void Client::settle_writes(const Request& request) {
  if (request.unknown) {
    for (const std::uint64_t row : committed_) ledger_.set(row, Fate::unknown);
    for (const std::uint64_t row : open_writes_) ledger_.set(row, Fate::unknown);
    open_writes_.clear();
    for (const Request& later : requests_) {
      if (&later == &requests_.front()) continue;
      open_writes_.insert(later.numbers.begin(), later.numbers.end());
    }
    for (const std::uint64_t row : request.numbers) ledger_.set(row, Fate::unknown);
    return;
  }
  const bool definite = request.by_dwspool;  // 08006 and its like: nothing was committed
  std::erase(committed_, 0);                 // a parameter that was not given
  for (const std::uint64_t row : committed_) {
    ledger_.set(row, definite ? Fate::failed : Fate::acked);
    if (!definite && rows_.contains(row) && rows_.view(row) != views_[row]) {
      complain("row " + std::to_string(row) +
               " was committed by a transaction that had read other rows than the client has seen");
    }
    open_writes_.erase(row);
  }
  if (model_.in_block()) return;
  std::set<std::uint64_t> later_writes;
  for (std::size_t i = 1; i < requests_.size(); ++i) {
    later_writes.insert(requests_[i].numbers.begin(), requests_[i].numbers.end());
  }
  for (const std::uint64_t row : open_writes_) {
    if (!later_writes.contains(row)) ledger_.set(row, Fate::failed);
  }
  open_writes_ = std::move(later_writes);
}

void Client::take_committed() {
  for (const std::uint64_t row : model_.take_committed()) {
    committed_.push_back(row);
    views_[row] = model_.committed_view();
  }
}

// Whether nobody can tell what a read of the row will show: it is another client's, or in doubt.
bool Client::depends_on_others(const Statement& run) const {
  return run.number / rows_per_client != number_ || ledger_.fate(run.number) == Fate::unknown ||
         rows_.forgot(run.number);
}

// A read shows what was there at some moment between the question and the answer.
void Client::on_shown(const Piece& piece, const Statement& run, const std::string& shown) {
  model_.saw(run.number, shown);
  if (!depends_on_others(run)) return;
  others_seen_ = true;
  if (rows_.forgot(run.number)) return;
  const std::string row = "row " + std::to_string(run.number);
  if (shown == "absent" && piece.there && piece.statement.number == run.number) {
    complain("is not shown " + row + ", which was there before it asked");
  }
  if (shown == "there" && !rows_.contains(run.number) && run.number / rows_per_client != number_) {
    complain("is shown " + row + ", which was never committed");
  }
}

// What a coordinator says about its data nodes goes through where nothing can be done about it.
bool Client::on_trouble(std::string_view text) {
  const Trouble trouble = said(text);
  if (trouble == Trouble::none) return false;
  if (!options_.faults) complain("hears of trouble, and there is none: " + std::string(text));
  Request& request = requests_.front();
  const bool doubtful = trouble == Trouble::broken || trouble == Trouble::commit;
  const bool may_commit = request.at >= request.pieces.size() || !model_.in_block() ||
                          request.pieces[request.at].statement.op == Op::commit;
  // Nothing but reads so far: nothing to doubt.
  request.unknown = doubtful && may_commit;
  settings_unclear_ = settings_unclear_ || chained_ || (request.unknown && request.at > 0);
  for (std::size_t i = request.at; i < request.pieces.size(); ++i) {
    locks_unclear_ = locks_unclear_ || request.pieces[i].statement.op == Op::lock;
  }
  if (request.unknown) {
    give_up_transaction();
  } else {
    model_.fail();
  }
  return true;
}

// It may have been committed, or is over; but on a connection that lives it may as well be there,
// and have failed.
void Client::give_up_transaction() {
  if (model_.in_block()) {
    failed_instead_ = model_;
    failed_instead_->fail();
  }
  model_.abort();
}

// The connection is over, one way or another.
void Client::end(bool /*answered*/) {
  if (gone_) return;
  gone_ = true;
  plug_.close();
  // An open transaction dies with its connection, unless something on its way may have ended it.
  // A BEGIN counts from its ReadyForQuery on: what is pipelined behind it may run without it.
  bool may_commit = !in_block_ && !requests_.empty();
  for (const Request& request : requests_) {
    for (const Piece& sent : request.pieces) {
      const Op op = sent.statement.op;
      // What a name really stands for may not be what the script believed.
      may_commit = may_commit || op == Op::commit || op == Op::rollback || !sent.name.empty();
    }
  }
  for (const std::uint64_t row : open_writes_) {
    ledger_.set(row, may_commit ? Fate::unknown : Fate::failed);
  }
  for (const std::uint64_t row : committed_) ledger_.set(row, Fate::unknown);
}

}  // namespace dwspool::sim
