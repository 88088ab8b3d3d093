"""The checker against histories made by hand: each kind of violation is found, and nothing else."""

import copy

import pytest

from checker import KINDS, Tables, check
from fate import judge
from history import FAILED, IDS_PER_CLIENT, OK, UNKNOWN, Log, Operation, longest_outage, read


class Story:
    """Operations one after the other, each a second long, unless a time is given."""

    def __init__(self):
        self.operations = []
        self.tables = Tables(balances={1: 1000, 2: 1000}, lists={1: []}, counters={1: 0})
        self.clock = 0.0

    def add(self, fate, *effects, seen=(), client=1, start=None, end=None):
        start = self.clock if start is None else start
        end = start + 1 if end is None else end
        self.clock = max(self.clock, end) + 0.1
        operation = Operation(len(self.operations) + 1, client, "test", start, list(effects), end,
                              fate, "", "", list(seen))
        self.operations.append(operation)
        return operation

    def kinds(self):
        return sorted({violation.kind for violation in check(self.operations, self.tables)})


@pytest.fixture
def story():
    return Story()


def row(number, client=1):
    return client * IDS_PER_CLIENT + number


R1, R2, R3 = row(1), row(2), row(3)


def test_nothing_happened(story):
    assert story.kinds() == []


@pytest.mark.parametrize("fate, found, expected", [
    (OK, 1, []),
    (OK, 0, ["lost"]),
    (OK, 2, ["duplicate"]),
    (FAILED, 0, []),
    (FAILED, 1, ["undead"]),
    (FAILED, 2, ["duplicate", "undead"]),
    (UNKNOWN, 0, []),
    (UNKNOWN, 1, []),
    (UNKNOWN, 2, ["duplicate"]),
])
@pytest.mark.parametrize("what", ["row", "transfer", "append"])
def test_how_often(story, what, fate, found, expected):
    if what == "row":
        story.add(fate, ["row", R1])
        story.tables.rows = [R1] * found
    elif what == "transfer":
        story.add(fate, ["transfer", R1, 1, 2, 5])
        story.tables.transfers = [(R1, 1, 2, 5)] * found
        story.tables.balances = {1: 1000 - 5 * found, 2: 1000 + 5 * found}
    else:
        story.add(fate, ["append", 1, R1])
        story.tables.lists = {1: [R1] * found}
    assert story.kinds() == expected


def test_torn(story):
    story.add(UNKNOWN, ["row", R1], ["row", R2], ["row", R3])
    assert story.kinds() == []
    story.tables.rows = [R1, R2, R3]
    assert story.kinds() == []
    story.tables.rows = [R1, R3]
    assert story.kinds() == ["torn"]


def test_torn_over_tables(story):
    story.add(UNKNOWN, ["row", R1], ["append", 1, R1])
    story.tables.lists = {1: [R1]}
    assert story.kinds() == ["torn"]


def test_strangers(story):
    story.tables.rows = [R1]
    assert story.kinds() == ["stranger"]


def test_an_item_in_the_wrong_list(story):
    story.add(OK, ["append", 1, R1])
    story.tables.lists = {1: [], 2: [R1]}
    assert story.kinds() == ["stranger"]


def test_a_balance_that_no_transfer_explains(story):
    story.add(UNKNOWN, ["transfer", R1, 1, 2, 5])
    story.tables.balances = {1: 995, 2: 1005}
    assert story.kinds() == ["balance"]


def test_half_a_transfer(story):
    story.add(OK, ["transfer", R1, 1, 2, 5])
    story.tables.transfers = [(R1, 1, 2, 5)]
    story.tables.balances = {1: 995, 2: 1000}
    assert story.kinds() == ["balance", "sum"]


def test_a_sum_as_read(story):
    story.add(OK, seen=[["sum", 2000]])
    assert story.kinds() == []
    story.add(FAILED, seen=[["sum", 1995]])
    assert story.kinds() == ["sum"]


@pytest.mark.parametrize("value, expected", [(1, ["counter"]), (2, []), (3, []), (4, []),
                                             (5, ["counter"])])
def test_counters(story, value, expected):
    story.add(OK, ["count", 1, 2])
    story.add(FAILED, ["count", 1, 10])
    story.add(UNKNOWN, ["count", 1, 1])
    story.add(UNKNOWN, ["count", 1, 1])
    story.tables.counters = {1: value}
    assert story.kinds() == expected


def test_order(story):
    story.add(OK, ["append", 1, R1])
    story.add(UNKNOWN, ["append", 1, R2])
    story.add(OK, ["append", 1, R3])
    story.tables.lists = {1: [R1, R3, R2]}  # the unknown one may have come late
    assert story.kinds() == []
    story.tables.lists = {1: [R2, R1, R3]}  # but it cannot have come before it began
    assert story.kinds() == ["order"]
    story.tables.lists = {1: [R3, R1]}
    assert story.kinds() == ["order"]


def test_order_of_what_happened_at_the_same_time(story):
    other = row(1, 2)
    story.add(OK, ["append", 1, R1], start=0, end=2)
    story.add(OK, ["append", 1, other], client=2, start=1, end=3)
    story.tables.lists = {1: [other, R1]}
    assert story.kinds() == []


def test_echo(story):
    story.add(OK, seen=[["echo", [1, "a"], [1, "a"]]])
    assert story.kinds() == []
    story.add(OK, seen=[["echo", [2, "a"], [3, "b"]]])
    assert story.kinds() == ["foreign"]


def test_rows_of_another_client(story):
    other = row(1, 2)
    story.add(OK, ["row", other], client=2)
    story.tables.rows = [other]
    story.add(OK, seen=[["own", R1, [other], []]])
    assert story.kinds() == ["foreign"]


def test_a_read_misses_what_was_acknowledged(story):
    story.add(OK, ["row", R1])
    story.add(OK, ["row", R2])
    story.tables.rows = [R1, R2]
    story.add(OK, seen=[["own", R1, [R1, R2], []]])
    story.add(OK, seen=[["own", R2, [R2], []]])
    assert story.kinds() == []
    story.add(OK, seen=[["own", R1, [R1], []]])
    assert story.kinds() == ["stale"]


def test_reads_are_monotonic(story):
    story.add(UNKNOWN, ["row", R1])
    story.add(OK, seen=[["own", R1, [], []]])  # not there yet
    story.add(OK, seen=[["own", R1, [R1], []]])  # it came late
    story.tables.rows = [R1]
    assert story.kinds() == []
    story.add(OK, seen=[["own", R1, [], []]])
    assert story.kinds() == ["stale"]


def test_what_a_read_of_a_failed_transaction_delivered_counts(story):
    story.add(UNKNOWN, ["row", R1])
    story.add(FAILED, seen=[["own", R1, [R1], []]])
    story.tables.rows = [R1]
    story.add(OK, seen=[["own", R1, [], []]])
    assert story.kinds() == ["stale"]


def test_own_writes_within_a_transaction(story):
    story.add(FAILED, ["row", R1], seen=[["own", R1, [R1], [R1]]])
    story.add(OK, seen=[["own", R1, [], []]])
    assert story.kinds() == []
    story.add(OK, ["row", R2], seen=[["own", R1, [], [R2]]])
    story.tables.rows = [R2]
    assert story.kinds() == ["stale"]


def test_dirty_read(story):
    story.add(FAILED, ["row", R1])
    story.add(OK, seen=[["own", R1, [R1], []]])
    assert story.kinds() == ["dirty"]


def test_a_read_delivers_rows_twice_or_made_up(story):
    story.add(OK, ["row", R1])
    story.tables.rows = [R1]
    story.add(OK, seen=[["own", R1, [R1, R1], []]])
    assert story.kinds() == ["duplicate"]
    story.add(OK, seen=[["own", R1, [R1, R2], []]])
    assert story.kinds() == ["duplicate", "stranger"]


def test_lists_as_read(story):
    story.add(OK, ["append", 1, R1], seen=[["list", 1, [R1], R1]])
    story.add(OK, ["append", 1, R2], seen=[["list", 1, [R1, R2], R2]])
    story.add(OK, seen=[["list", 1, [R1, R2], None]])
    story.tables.lists = {1: [R1, R2]}
    assert story.kinds() == []
    late = copy.deepcopy(story)
    late.add(OK, seen=[["list", 1, [R1], None]])
    assert late.kinds() == ["stale"]
    story.add(OK, seen=[["list", 1, [R2, R1], None]])
    assert story.kinds() == ["history"]


def test_a_list_read_by_a_transaction_that_failed(story):
    story.add(OK, ["append", 1, R1])
    story.add(FAILED, ["append", 1, R2], seen=[["list", 1, [R1, R2], R2]])
    story.tables.lists = {1: [R1]}
    assert story.kinds() == []
    story.add(FAILED, ["append", 1, R3], seen=[["list", 1, [R1], R3]])
    assert story.kinds() == ["stale"]


@pytest.mark.parametrize("value, expected", [(1, ["stale"]), (2, []), (3, []), (4, ["dirty"])])
def test_counters_as_read(story, value, expected):
    story.add(OK, ["count", 1, 2])
    story.add(UNKNOWN, ["count", 1, 1])
    story.add(FAILED, ["count", 1, 7])
    story.tables.counters = {1: 3}
    story.add(OK, seen=[["counter", 1, value, 0]])
    assert story.kinds() == expected


@pytest.mark.parametrize("fate", [OK, FAILED, UNKNOWN])
def test_a_counter_read_by_who_adds_to_it(story, fate):
    story.add(OK, ["count", 1, 2])
    story.add(fate, ["count", 1, 5], seen=[["counter", 1, 7, 5]])
    story.tables.counters = {1: 7 if fate == OK else 2}
    assert story.kinds() == []
    story.operations[-1].seen = [["counter", 1, 2, 5]]
    assert story.kinds() == ["stale"]


def test_every_kind_is_tried_here():
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []


@pytest.mark.parametrize("state, text, may_have_committed, expected", [
    ("08007", "", True, UNKNOWN),
    ("", "server closed the connection unexpectedly", True, UNKNOWN),
    ("", "server closed the connection unexpectedly", False, FAILED),
    ("08006", "the transaction was lost", True, FAILED),
    ("08000", "whatever language it is in", True, UNKNOWN),
    ("08006", "failed to send COMMIT command", True, UNKNOWN),
    ("57P01", "", True, FAILED),
    ("23514", "", True, FAILED),
    ("08007", "", False, FAILED),  # who never sent COMMIT knows better
])
def test_fates(state, text, may_have_committed, expected):
    assert judge(state, text, may_have_committed) == expected


def test_the_log(tmp_path):
    path = tmp_path / "client.jsonl"
    log = Log(path, 7, "test")
    log.begin(1, "insert", [["row", R1]])
    log.end(1, OK)
    log.begin(2, "insert", [["row", R2]])
    log.close()
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"event":"end","op":2,"fa')  # killed here
    first, second = read([path])
    assert (first.fate, second.fate, second.end) == (OK, UNKNOWN, None)
    assert (first.client, first.effects) == (7, [["row", R1]])


def test_longest_outage(story):
    story.add(OK, start=0, end=1)
    story.add(OK, start=9, end=10)  # nobody was refused anything
    story.add(UNKNOWN, start=10, end=12)
    story.add(FAILED, start=12, end=13)
    story.add(OK, start=13, end=14)
    assert longest_outage(story.operations) == 4
