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
