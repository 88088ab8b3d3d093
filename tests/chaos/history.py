"""What clients tried and what they were told: one file of JSON lines for each client.

An operation is one transaction, or one statement outside of one. Its first line is written before
it begins, its second one when the client knows its fate. An operation without a second line (its
process was killed) is of unknown fate. Times are those of the machine's monotonic clock, which
all processes share.

Effects, known beforehand:
    ["row", id]                             a row of ledger_rows
    ["transfer", id, from, to, amount]      a row of ledger_transfers, and two balances
    ["append", list, id]                    an item at the end of a list
    ["count", counter, amount]              added to a counter

Observations, what reads delivered:
    ["echo", [asked...], [got...]]          what the client sent itself
    ["own", low, [ids], [pending]]          its own rows from `low` on; `pending`: written by this
                                            very transaction
    ["list", list, [items], own]            a list; `own`: the item appended by this transaction
    ["counter", counter, value, pending]    a counter; `pending`: added by this transaction
    ["sum", total]                          of all balances
"""

import dataclasses
import json
import time

OK = "ok"
FAILED = "failed"
UNKNOWN = "unknown"

# Ids of rows, transfers and items tell whose they are.
IDS_PER_CLIENT = 1_000_000_000


def client_of(identity):
    return identity // IDS_PER_CLIENT


@dataclasses.dataclass
class Operation:
    id: int
    client: int
    kind: str
    start: float
    effects: list = dataclasses.field(default_factory=list)
    end: float | None = None
    fate: str = UNKNOWN
    state: str = ""
    text: str = ""
    seen: list = dataclasses.field(default_factory=list)


class Log:
    """The file of one client; every line is with the system before the next step is taken."""

    def __init__(self, path, client, driver):
        self.file = open(path, "w", encoding="utf-8", buffering=1)
        self.client = client
        self._write(event="client", client=client, driver=driver)

    def _write(self, **line):
        self.file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self.file.flush()

    def begin(self, number, kind, effects):
        self._write(event="begin", op=number, kind=kind, time=time.monotonic(), effects=effects)

    def end(self, number, fate, seen=(), state="", text=""):
        self._write(event="end", op=number, fate=fate, time=time.monotonic(), seen=list(seen),
                    state=state, text=text[:300])

    def connect_failed(self, state, text):
        self._write(event="connect_failed", time=time.monotonic(), state=state, text=text[:300])

    def close(self):
        self.file.close()


def read(paths):
    """All operations of these files, each client's in their order."""
    operations = []
    for path in paths:
        client = None
        begun = {}
        with open(path, encoding="utf-8") as file:
            for text in file:
                if not text.endswith("\n"):
                    break  # its writer was killed
                line = json.loads(text)
                if line["event"] == "client":
                    client = line["client"]
                elif line["event"] == "begin":
                    begun[line["op"]] = Operation(line["op"], client, line["kind"], line["time"],
                                                  line["effects"])
                elif line["event"] == "end":
                    operation = begun[line["op"]]
                    operation.end = line["time"]
                    operation.fate = line["fate"]
                    operation.seen = line["seen"]
                    operation.state = line["state"]
                    operation.text = line["text"]
        operations += begun.values()
    return operations


def longest_outage(operations):
    """The longest time that any client went from one success to the next with failures between."""
    longest = 0.0
    last_ok = {}
    troubled = set()
    for operation in operations:
        if operation.fate == OK:
            if operation.client in troubled and operation.client in last_ok:
                longest = max(longest, operation.end - last_ok[operation.client])
            troubled.discard(operation.client)
            last_ok[operation.client] = operation.end
        elif operation.state != "abandoned":
            troubled.add(operation.client)
    return longest


def longest_operation(operations):
    return max((operation.end - operation.start for operation in operations
                if operation.end is not None), default=0.0)
