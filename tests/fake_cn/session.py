"""One session: what the client sends goes to PostgreSQL, but for what DWS would not do.

A refusal has to do to the transaction what an error does. So PostgreSQL is sent something in the
statement's place that fails there (a function, or a portal, whose name has the refusal's number),
and its error is exchanged for the right one on the way back. Order, transaction state and the
skipping up to the next Sync then come out by themselves.
"""

import asyncio
import collections
import contextlib
import re
import struct
import time

from . import sqltext
from .faults import DONE, LOST, PASS, Refusal
from .frames import as_gauss, cstr, error, error_body, fields, message, notice, query
from .login import Cancelled, Login, Refused, no_delay

REFUSAL = re.compile(rb"fake_cn_refusal_(\d+)")
UNREPORTED = {b"default_transaction_read_only", b"in_hot_standby", b"search_path",
              b"scram_iterations"}
RENAMED = {b"is_superuser": b"is_sysadmin"}
EXTRA = {"connection_info": "", "session_respool": "respool_0", "query_band": "",
         "behavior_compat_options": ""}
NOT_FOR_POSTGRES = {"user", "database", "options", "enable_full_encryption", "backend_version",
                    "connect_timeout", "connection_info"}
OPTIONS = "-c dws.session_timeout={} -c dws.max_query_retry_times=6 -c dws.retry_ecode_list="
COUNTED = {b"C": "C", b"I": "C", b"s": "C", b"1": "1", b"2": "2", b"3": "3"}
EXTENDED = b"PBDECH"
HELPER = "fake_cn_rollback"


class Batch:
    """What one ReadyForQuery will answer: which messages of the answer the client is not to see.
    `sent` counts what will be answered by a message of that kind."""

    def __init__(self):
        self.sent = collections.Counter()
        self.seen = collections.Counter()
        self.swallow = set()
        self.swallow_notices = False
        self.synced = False

    def hide(self, kind):
        self.swallow.add((kind, self.sent[kind]))
        self.sent[kind] += 1

    def hidden(self, kind):
        place = (kind, self.seen[kind])
        self.seen[kind] += 1
        return place in self.swallow


class Session:
    def __init__(self, cn, reader, writer):
        self.cn = cn
        self.writer = writer
        self.login = Login(cn, reader, writer)
        self.server = None          # the writer towards PostgreSQL
        self.role = None
        self.id = None
        self.key = 0
        self.pg_key = None
        self.status = None          # of the last ReadyForQuery; None before the first
        self.block = False          # whether what is sent next runs in a transaction block,
        self.aborted = False        # and in a failed one, as far as that can be known
        self.touched = False        # the transaction has been to a data node,
        self.wrote = False          # has changed something there,
        self.doomed = None          # and that node is gone: the fault that took it
        self.batches = collections.deque()
        self.statements = {}
        self.portals = {}
        self.refusals = {}
        self.timeout = cn.session_timeout
        self.last_used = time.monotonic()
        self.holding = False
        self.cancelled = False

    async def run(self):
        watch = None
        try:
            await self.login.run()
            self.role = self.login.role
            frames = await self.connect()
            watch = asyncio.ensure_future(self.watch_idle())
            await self.relay(frames)
        except Cancelled:
            pass
        except Refused as refused:
            self.writer.write(self.login.error(refused.code, refused.text))
            await self.writer.drain()
        finally:
            if watch:
                watch.cancel()
            self.cn.forget(self)
            for writer in (self.writer, self.server):
                if writer is not None:
                    writer.close()

    async def connect(self):
        parameters, cn = self.login.parameters, self.cn
        if len(cn.sessions) >= cn.max_connections:
            raise Refused("53300", "sorry, too many clients already, active/non-active: "
                                   f"{len(cn.sessions)}/0.")
        try:
            reader, self.server = await asyncio.open_connection(*cn.upstream)
        except OSError as problem:
            raise Refused("57P03", "the database system is starting up") from problem
        no_delay(self.server)
        own = OPTIONS.format(f"{self.timeout:g}")
        asked = {"user": self.role.pg_user or self.role.name,
                 "database": parameters["database"],
                 "options": f"{own} {parameters.get('options', '')}".strip()}
        asked.update((name, value) for name, value in parameters.items()
                     if name not in NOT_FOR_POSTGRES)
        body = struct.pack("!I", 196608)
        body += b"".join(cstr(name) + cstr(value) for name, value in asked.items()) + b"\0"
        self.server.write(struct.pack("!I", len(body) + 4) + body)
        cn.register(self)
        return type(self.login.frames)(reader)

    async def relay(self, frames):
        pumps = [asyncio.ensure_future(self.from_client(self.login.frames)),
                 asyncio.ensure_future(self.from_server(frames))]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in done:
                pump.result()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    # --- From PostgreSQL -------------------------------------------------------------------------

    async def from_server(self, frames):
        while True:
            found, data = await frames.some()
            out, run = [], 0  # `run`: where what may go out as it is begins
            for kind, start, end in found:
                changed = self.on_server(kind, data, start, end)
                if changed is not None:
                    out += [data[run:start], changed]
                    run = end
            out.append(data[run:found[-1][2]])
            await self.cn.thawed.wait()
            self.writer.write(b"".join(out))
            await self.writer.drain()

    def on_server(self, kind, data, start, end):
        """What to send instead; None: the message as it is."""
        batch = self.batches[0] if self.batches else None
        if kind in COUNTED:
            if batch and batch.hidden(COUNTED[kind]):
                return b""
        elif kind == b"Z":
            self.on_ready(data[end - 1:end])
        elif kind == b"E":
            return self.on_error(data[start + 5:end])
        elif kind == b"N":
            if batch and batch.swallow_notices and b"25P01" in data[start:end]:
                return b""
            return message(b"N", as_gauss(data[start + 5:end]))
        elif kind == b"S":
            return self.parameter(data[start + 5:end])
        elif kind == b"K" and self.status is None:
            self.pg_key = struct.unpack("!II", data[start + 5:end])
            return self.greeting() + message(b"K", struct.pack("!II", self.id, self.key))
        return None

    def greeting(self):
        out = b"".join(message(b"S", cstr(name) + cstr(value)) for name, value in EXTRA.items())
        if self.role.login_notice:
            out += notice("NOTICE", "00000", self.role.login_notice)
        return out

    def on_ready(self, status):
        if self.status is not None and self.batches:
            self.batches.popleft()
        self.status = status
        self.last_used = time.monotonic()
        if status != b"T":
            self.doomed = None
        if status == b"I":
            self.touched = self.wrote = False
        if not self.batches:
            self.block, self.aborted = status == b"T", status == b"E"

    def on_error(self, body):
        found = fields(body)
        number = REFUSAL.search(found.get("M", b""))
        refusal = self.refusals.pop(int(number[1]), None) if number else None
        if refusal:
            self.cn.counts[f"refused {refusal.code}"] += 1
            return message(b"E", error_body("ERROR", refusal.code, refusal.text,
                                            severity_text=refusal.severity_text()))
        if self.status is None:
            return self.login.error(found["C"].decode(), found["M"].decode("utf-8", "replace"))
        return message(b"E", as_gauss(body))

    @staticmethod
    def parameter(body):
        name, value = body.split(b"\0")[:2]
        if name in UNREPORTED:
            return b""
        if name == b"server_version":
            value = b"9.2.4"
        return message(b"S", RENAMED.get(name, name) + b"\0" + value + b"\0")

    # --- From the client -------------------------------------------------------------------------

    async def from_client(self, frames):
        while True:
            try:
                found, data = await frames.some()
            except EOFError:
                return
            for kind, start, end in found:
                await self.cn.thawed.wait()
                self.last_used = time.monotonic()
                out = await self.on_client(kind, data[start:end], data[start + 5:end])
                self.server.write(out)
                if kind == b"X":
                    await self.server.drain()
                    return
            await self.server.drain()

    async def on_client(self, kind, whole, body):
        if kind == b"Q":
            return await self.on_query(body.rstrip(b"\0"))
        if kind == b"F":
            self.open_batch().synced = True
            return query(self.refuse_by_name(
                Refusal("0A000", "large object is not yet supported.")))
        if kind in (b"P", b"B", b"D", b"E", b"C", b"H"):
            return await self.on_extended(kind, whole, body)
        if kind == b"S":
            self.open_batch().synced = True
            return whole
        if kind in (b"d", b"c", b"f", b"X"):
            return whole
        self.writer.write(error("FATAL", "08P01", f"invalid frontend message type {kind[0]}"))
        raise EOFError

    def open_batch(self):
        if not self.batches or self.batches[-1].synced:
            self.batches.append(Batch())
        return self.batches[-1]

    async def on_query(self, body):
        text = body.decode("latin-1")
        self.cn.saw(self, text)
        batch = self.open_batch()
        batch.synced = True
        found = sqltext.statements(text)
        edits = []
        for place, statement in enumerate(found):
            piece = text[statement.start:statement.end]
            action, refusal = await self.decide(statement, piece, alone=len(found) == 1)
            if action is None:
                edits += statement.edits
                self.follow(statement)
                continue
            instead = self.refuse_by_name(refusal)
            if action != "refuse":
                # The transaction ends, and then the error comes: outside of any.
                end = "ROLLBACK" if action == LOST else piece
                if not statement.commits:  # it commits by itself, and needs a COMMIT to do so here
                    end = f"{piece}; COMMIT"
                    batch.swallow_notices = True
                    batch.swallow.add(("C", place + 1))
                instead = f"{end}; {instead}"
                batch.swallow.add(("C", place))
            edits.append((statement.start, statement.end, instead))
            break
        await self.provide_catalog(found)
        return query(sqltext.rewrite(text, edits).encode("latin-1"))

    async def provide_catalog(self, found):
        database = self.login.parameters["database"]
        if any(statement.asks_nodes for statement in found):
            await self.cn.provide_nodes(database)
        if any(statement.asks_roles for statement in found):
            await self.cn.provide_roles(database)

    async def on_extended(self, kind, whole, body):
        batch = self.open_batch()
        if kind == b"P":
            batch.sent["1"] += 1
            name, rest = body.split(b"\0", 1)
            sql, types = rest.split(b"\0", 1)
            text = sql.decode("latin-1")
            found = sqltext.statements(text)
            self.statements[name] = (found[0] if len(found) == 1 else None, text)
            await self.provide_catalog(found)
            edits = [edit for statement in found for edit in statement.edits]
            if not edits:
                return whole
            sql = sqltext.rewrite(text, edits).encode("latin-1")
            return message(b"P", cstr(name) + cstr(sql) + types)
        if kind == b"B":
            batch.sent["2"] += 1
            portal, statement = body.split(b"\0", 2)[:2]
            self.portals[portal] = self.statements.get(statement, (None, ""))
        elif kind == b"C":
            batch.sent["3"] += 1
        elif kind == b"E":
            return await self.on_execute(batch, whole, body)
        return whole

    async def on_execute(self, batch, whole, body):
        statement, text = self.portals.get(body.split(b"\0", 1)[0], (None, ""))
        if statement is None:
            batch.sent["C"] += 1
            return whole
        self.cn.saw(self, text)
        action, refusal = await self.decide(statement, text, alone=True, extended=True)
        if action is None:
            batch.sent["C"] += 1
            self.follow(statement)
            return whole
        fail = message(b"E", cstr(self.number(refusal)) + struct.pack("!I", 0))
        if action == LOST:
            for step in ("1", "2", "C", "3"):
                batch.hide(step)
            name = cstr(HELPER)
            return (message(b"P", name + cstr("ROLLBACK") + b"\0\0")
                    + message(b"B", name + name + b"\0" * 6)
                    + message(b"E", name + b"\0" * 4) + message(b"C", b"S" + name) + fail)
        if action == DONE:
            batch.hide("C")
            return whole + fail
        return fail

    # --- What is done with a statement -----------------------------------------------------------

    async def decide(self, statement, text, alone, extended=False):
        """(what to do, the error): None to run it; "refuse"; for what ends a transaction LOST or
        DONE, after which the error comes."""
        faults = self.cn.faults
        if self.aborted:
            return None, None  # PostgreSQL refuses whatever is to be refused
        if self.role.expired and statement.verb != "alter":
            return "refuse", Refusal(
                "28P02", f'Please use "ALTER ROLE "{self.role.name}" PASSWORD \'password\';" to '
                         "set the password of the user before other operations!")
        if statement.refusal and not (statement.verb == "discard" and self.cn.discard):
            return "refuse", Refusal(*statement.refusal)
        if faults.read_only and statement.writes and not statement.makes_room:
            return "refuse", Refusal("25006", f"cannot execute {statement.verb.upper()} in a "
                                              "read-only transaction")
        if statement.commits:
            return self.decide_commit(text)
        if self.doomed and statement.touches:
            return "refuse", self.doomed.refusal()
        while fault := faults.for_statement(statement, text):
            if fault.retry and alone and not self.block and not statement.copies_in:
                if not await self.hold(fault):
                    return "refuse", Refusal("57014", "canceling statement due to user request")
                continue
            fault.hits += 1
            if fault.commit == DONE and alone and not (self.block or extended) and \
                    statement.writes:
                return DONE, fault.commit_refusal()
            return "refuse", fault.refusal()
        return None, None

    def decide_commit(self, text):
        if not self.block:
            return None, None
        if self.doomed and self.wrote:
            return LOST, self.doomed.commit_refusal()
        fault = self.cn.faults.for_commit(text, self.wrote)
        if fault is None:
            return None, None
        fault.hits += 1
        return (LOST if fault.commit == PASS else fault.commit,
                fault.refusal() if fault.pattern else fault.commit_refusal())

    def follow(self, statement):
        """What is true once the statement has run."""
        self.touched |= statement.touches
        self.wrote |= statement.writes
        if statement.begins:
            self.block = True
        elif statement.commits or statement.rolls_back:
            self.block = self.aborted = False
        elif statement.verb == "rollback":
            self.aborted = False
        if statement.session_timeout is not None:
            self.timeout = statement.session_timeout
        elif statement.verb == "reset":
            self.timeout = self.cn.session_timeout

    async def hold(self, fault):
        """The coordinator's own retry: the statement runs when the fault is over. False if it
        was cancelled meanwhile."""
        self.holding, self.cancelled = True, False
        self.cn.counts["held"] += 1
        try:
            while not self.cancelled:
                if fault not in self.cn.faults.current():
                    return True
                await asyncio.sleep(0.01)
            return False
        finally:
            self.holding = False

    def number(self, refusal):
        number = self.cn.next_number()
        self.refusals[number] = refusal
        return f"fake_cn_refusal_{number}"

    def refuse_by_name(self, refusal):
        return f"SELECT {self.number(refusal)}()"

    # --- Ends ------------------------------------------------------------------------------------

    async def watch_idle(self):
        while True:
            left = self.timeout + self.last_used - time.monotonic() if self.timeout else 0.5
            if self.timeout and left <= 0:
                if self.status is not None and not self.batches:
                    self.cn.counts["session timeouts"] += 1
                    self.kill("Session unused timeout.")
                    return
                left = 0.05
            await asyncio.sleep(min(max(left, 0.01), 0.2))

    def kill(self, warning=None):
        """Ends the session as an administrator, or session_timeout, would."""
        if warning:
            self.writer.write(notice("WARNING", "01000", warning))
        self.writer.write(error("FATAL", "57P01",
                                "terminating connection due to administrator command"))
        self.close()

    def close(self):
        for writer in (self.writer, self.server):
            if writer is not None:
                with contextlib.suppress(RuntimeError):
                    writer.close()
