"""Compares what clients were told with what the tables hold. Pure: (history, tables) in, violations
out; history.py describes the history."""

import bisect
import collections
import dataclasses

from history import FAILED, OK, UNKNOWN, client_of

INFINITY = float("inf")


@dataclasses.dataclass
class Tables:
    rows: list = dataclasses.field(default_factory=list)  # ids
    transfers: list = dataclasses.field(default_factory=list)  # (id, from, to, amount)
    balances: dict = dataclasses.field(default_factory=dict)  # account: balance
    lists: dict = dataclasses.field(default_factory=dict)  # list: its items in order
    counters: dict = dataclasses.field(default_factory=dict)  # counter: value
    initial_balance: int = 1000


@dataclasses.dataclass(frozen=True)
class Violation:
    kind: str
    text: str

    def __str__(self):
        return f"{self.kind}: {self.text}"


# What each kind means.
KINDS = {
    "duplicate": "a write took effect more than once",
    "lost": "a write that was acknowledged is not there",
    "undead": "a write that definitely failed is there",
    "torn": "a part of a transaction is there, another is not",
    "stranger": "something that nobody wrote",
    "balance": "an account is not what the transfers that are there make it",
    "sum": "the sum of all accounts has changed",
    "counter": "a counter is out of its bounds",
    "order": "an item that was acknowledged before another one began stands behind it",
    "foreign": "a client got the answer of another",
    "stale": "a read missed what its client knew to be committed",
    "dirty": "a read delivered what was never committed",
    "history": "a list as it was read is not the beginning of the list as it is",
}


def check(operations, tables):
    """All violations."""
    return [*_writes(operations, tables), *_accounts(tables), *_counters(operations, tables),
            *_order(operations, tables), *_echoes(operations), *_own_rows(operations),
            *_lists_read(operations, tables), *_counters_read(operations),
            *_sums_read(operations, tables)]


def unknown_done(operations, tables):
    """How many operations of unknown fate took effect, of those with an effect that can be seen."""
    found = _found(tables)
    return sum(1 for operation in operations if operation.fate == UNKNOWN and any(
        found[identity] for effect in operation.effects if (identity := _identity(effect))))


def _describe(operation):
    said = f"{operation.fate} {operation.state}".strip()
    return f"{operation.kind} {operation.id} of client {operation.client} ({said})"


def _identity(effect):
    """What must be there once; None for what cannot be told apart."""
    if effect[0] == "append":
        return ("append", effect[2])
    return (effect[0], effect[1]) if effect[0] in ("row", "transfer") else None


def _found(tables):
    """How often each identity is there."""
    found = collections.Counter(("row", row) for row in tables.rows)
    found.update(("transfer", transfer[0]) for transfer in tables.transfers)
    for items in tables.lists.values():
        found.update(("append", item) for item in items)
    return found


def _writes(operations, tables):
    """ok exactly once, failed never, unknown at most once, and each transaction all or nothing."""
    found = _found(tables)
    planned = set()
    for operation in operations:
        identities = [identity for effect in operation.effects if (identity := _identity(effect))]
        planned.update(identities)
        for identity in identities:
            what = f"{identity[0]} {identity[1]} by {_describe(operation)}"
            if found[identity] > 1:
                yield Violation("duplicate", f"{what}: {found[identity]} times")
            if operation.fate == OK and not found[identity]:
                yield Violation("lost", what)
            if operation.fate == FAILED and found[identity]:
                yield Violation("undead", what)
        there = sum(1 for identity in identities if found[identity])
        if operation.fate == UNKNOWN and 0 < there < len(identities):
            yield Violation("torn", f"{there} of {len(identities)} by {_describe(operation)}")
    for identity in found.keys() - planned:
        yield Violation("stranger", f"{identity[0]} {identity[1]}")
    appends = _appends(operations)
    for number, items in tables.lists.items():
        meant = {item for _, item in appends[number]}
        for item in set(items) - meant:
            if ("append", item) in planned:
                yield Violation("stranger", f"append {item} in list {number}, meant for another")


def _accounts(tables):
    expected = dict.fromkeys(tables.balances, tables.initial_balance)
    for _, source, target, amount in tables.transfers:
        expected[source] -= amount
        expected[target] += amount
    for account, balance in tables.balances.items():
        if balance != expected[account]:
            yield Violation("balance", f"account {account}: {balance} instead of "
                                       f"{expected[account]}")
    total = sum(tables.balances.values())
    if total != tables.initial_balance * len(tables.balances):
        yield Violation("sum", f"{total} instead of "
                               f"{tables.initial_balance * len(tables.balances)}")


def _counts(operations, counter=None):
    """(operation, amount) of each operation that adds to the counter."""
    for operation in operations:
        amount = sum(effect[2] for effect in operation.effects
                     if effect[0] == "count" and counter in (None, effect[1]))
        if amount:
            yield operation, amount


def _counters(operations, tables):
    for counter, value in tables.counters.items():
        low = high = 0
        for operation, amount in _counts(operations, counter):
            low += amount if operation.fate == OK else 0
            high += amount if operation.fate != FAILED else 0
        if not low <= value <= high:
            yield Violation("counter", f"counter {counter} is {value}, not within {low}..{high}")


class _RunningSum:
    """How much had come together by a given time."""

    def __init__(self, pairs):
        ordered = sorted(pairs)
        self.times = [time for time, _ in ordered]
        self.sums = [0]
        for _, amount in ordered:
            self.sums.append(self.sums[-1] + amount)

    def before(self, time):
        return self.sums[bisect.bisect_left(self.times, time)]


class _RunningMax(_RunningSum):
    """The greatest value by a given time; -1 before the first."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.sums = [-1]
        for _, value in sorted(pairs):
            self.sums.append(max(self.sums[-1], value))


def _appends(operations):
    """list: [(operation, item)]"""
    appends = collections.defaultdict(list)
    for operation in operations:
        for effect in operation.effects:
            if effect[0] == "append":
                appends[effect[1]].append((operation, effect[2]))
    return appends


def _acknowledged(appends, positions):
    """By when which place of the list was taken for certain."""
    return _RunningMax([(operation.end, positions[item]) for operation, item in appends
                        if operation.fate == OK and item in positions])


def _order(operations, tables):
    for number, appends in _appends(operations).items():
        positions = {item: place for place, item in enumerate(tables.lists.get(number, []))}
        acknowledged = _acknowledged(appends, positions)
        for operation, item in appends:
            if item in positions and acknowledged.before(operation.start) > positions[item]:
                yield Violation("order", f"list {number}: {item} by {_describe(operation)}")


def _observations(operations, kind):
    for operation in operations:
        for seen in operation.seen:
            if seen[0] == kind:
                yield operation, *seen[1:]


def _echoes(operations):
    for operation, asked, got in _observations(operations, "echo"):
        if asked != got:
            yield Violation("foreign", f"{_describe(operation)} asked {asked} and got {got}")


def _own_rows(operations):
    """A client that knows a row to be committed, by its COMMIT's answer or by having read it, never
    misses it later."""
    by_client = collections.defaultdict(list)
    for operation in operations:
        by_client[operation.client].append(operation)
    for client, own in by_client.items():
        fates = {effect[1]: operation.fate for operation in own for effect in operation.effects
                 if effect[0] == "row"}
        known = []  # sorted
        for operation in own:
            for _, low, ids, pending in _observations([operation], "own"):
                yield from _own_read(operation, low, ids, pending, fates, known)
                for row in ids:
                    if row not in pending and fates.get(row) != FAILED:
                        _insert(known, row)
            if operation.fate == OK:
                for effect in operation.effects:
                    if effect[0] == "row":
                        _insert(known, effect[1])


def _own_read(operation, low, ids, pending, fates, known):
    expected = set(known[bisect.bisect_left(known, low):]) | {row for row in pending if row >= low}
    for row in sorted(expected - set(ids)):
        yield Violation("stale", f"row {row} missed by {_describe(operation)}")
    for row, count in collections.Counter(ids).items():
        where = f"row {row} read by {_describe(operation)}"
        if count > 1:
            yield Violation("duplicate", f"{where}: {count} times")
        if client_of(row) != operation.client:
            yield Violation("foreign", where)
        elif row not in fates:
            yield Violation("stranger", where)
        elif fates[row] == FAILED and row not in pending:
            yield Violation("dirty", where)


def _insert(known, row):
    place = bisect.bisect_left(known, row)
    if place == len(known) or known[place] != row:
        known.insert(place, row)


def _lists_read(operations, tables):
    acknowledged = {}
    appends = _appends(operations)
    for number, items in tables.lists.items():
        positions = {item: place for place, item in enumerate(items)}
        acknowledged[number] = _acknowledged(appends[number], positions)
    for operation, number, items, own in _observations(operations, "list"):
        final = tables.lists.get(number, [])
        if own is not None and (not items or items[-1] != own):
            yield Violation("stale", f"list {number} without the item that {_describe(operation)} "
                                     "had just appended")
        elif own is not None and operation.fate != OK:
            items = items[:-1]
        if items != final[:len(items)]:
            yield Violation("history", f"list {number} as read by {_describe(operation)}")
        elif acknowledged[number].before(operation.start) >= len(items):
            yield Violation("stale", f"list {number} is too short for {_describe(operation)}")


def _counters_read(operations):
    at_least, at_most = {}, {}
    for operation, counter, value, pending in _observations(operations, "counter"):
        if counter not in at_least:
            counts = list(_counts(operations, counter))
            at_least[counter] = _RunningSum([(other.end, amount) for other, amount in counts
                                             if other.fate == OK])
            at_most[counter] = _RunningSum([(other.start, amount) for other, amount in counts
                                            if other.fate != FAILED])
        low = at_least[counter].before(operation.start) + pending
        # What the operation itself adds is in it only if it does not fail.
        until = INFINITY if operation.end is None else operation.end
        high = at_most[counter].before(until) + (pending if operation.fate == FAILED else 0)
        if value < low:
            yield Violation("stale", f"counter {counter}: {value} read by {_describe(operation)}, "
                                     f"at least {low} was there")
        if value > high:
            yield Violation("dirty", f"counter {counter}: {value} read by {_describe(operation)}, "
                                     f"at most {high} can have been there")


def _sums_read(operations, tables):
    expected = tables.initial_balance * len(tables.balances)
    for operation, total in _observations(operations, "sum"):
        if total != expected:
            yield Violation("sum", f"{total} instead of {expected} read by {_describe(operation)}")
