"""The fake coordinator itself: its listener, its roles, and what can be done to it."""

import asyncio
import collections
import contextlib
import os
import re
import shutil
import socket
import ssl
import struct
import threading

from . import control, login, nodes
from .faults import Fault, Faults
from .session import Session
from .verifiers import Role

QUIET = (EOFError, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError,
         asyncio.TimeoutError, ssl.SSLError, OSError)


class FakeCn:
    """A coordinator of GaussDB(DWS) before the PostgreSQL at `upstream` (host, port), which has
    to trust it. It runs in a thread of its own; all methods may be called from any thread.
    Calls that block without letting Python's other threads run stop it, too: psycopg2's cancel()
    is one. For that, start it as a process, and use the control socket.

    `roles`: who may log in. `hba`: the method of its pg_hba.conf, sha256, md5, sm3, or trust,
    which takes everybody. `nodes`: [(name, host, port)] of all coordinators, for pgxc_node.
    `discard`: as from 8.2.0, where DISCARD works. `control`: the path of a socket for commands.
    """

    def __init__(self, upstream, roles=(), hba="sha256", port=0, tls=False, require_ssl=False,
                 session_timeout=600, failed_login_attempts=10, startup_severity="ERROR",
                 max_connections=800, discard=False, name="cn_5001", nodes=None, control=None,
                 authentication_timeout=60, host="127.0.0.1", admin="postgres"):
        self.upstream = upstream
        self.roles = {role.name: role for role in roles}
        self.hba = hba
        self.host, self.port = host, port
        self.require_ssl = require_ssl
        self.session_timeout = session_timeout
        self.failed_login_attempts = failed_login_attempts
        self.startup_severity = startup_severity
        self.max_connections = max_connections
        self.discard = discard
        self.name = name
        self.nodes = nodes
        self.admin = admin
        self.control_path = control
        self.authentication_timeout = authentication_timeout
        self.faults = Faults()
        self.refusing = None
        self.counts = collections.Counter()
        self.seen = collections.deque(maxlen=20000)  # (session id, text) of statements
        self.crashes = []
        self.sessions = {}
        self._connections = set()
        self._tasks = set()
        self._numbers = 0
        self._with_nodes = set()
        self.tls, self._tls_folder = None, None
        if tls:
            cert, key = login.certificate()
            self._tls_folder = os.path.dirname(cert)
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(cert, key)
        self._listener = self._control = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        try:
            self._call(self._start())
        except BaseException:
            self._end()
            raise

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _start(self):
        self.thawed = asyncio.Event()
        self.thawed.set()
        self._making_nodes = asyncio.Lock()
        await self._listen()
        if self.control_path:
            self._control = await control.listen(self, self.control_path)

    async def _listen(self):
        self._listener = await asyncio.start_server(self._serve, self.host, self.port, backlog=512)
        self.port = self._listener.sockets[0].getsockname()[1]

    def _call(self, work):
        """Runs a coroutine in the loop, and waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _do(self, function, *values):
        async def run():
            return function(*values)

        return self._call(run())

    async def _serve(self, reader, writer):
        login.no_delay(writer)
        task = asyncio.current_task()
        self._tasks.add(task)
        self._connections.add(writer)
        session = Session(self, reader, writer)
        self.counts["connections"] += 1
        try:
            await session.run()
        except QUIET:
            pass
        except ValueError as problem:  # bytes that are no start-up packet
            self.counts[f"garbage: {problem}"] += 1
        except Exception as problem:  # pylint: disable=broad-except
            self.crashes.append(problem)
        finally:
            self._tasks.discard(task)
            self._connections.discard(writer)
            writer.close()

    # --- For sessions, in the loop ---------------------------------------------------------------

    @staticmethod
    def new_token():
        return os.urandom(4)

    def next_number(self):
        self._numbers += 1
        return self._numbers

    def register(self, session):
        """Gives it the lowest free number, as a slot number would be. It can be 0."""
        session.id = next(number for number in range(len(self.sessions) + 1)
                          if number not in self.sessions)
        session.key = struct.unpack("!I", os.urandom(4))[0] & ~1  # even: threads are pooled
        self.sessions[session.id] = session

    def forget(self, session):
        if self.sessions.get(session.id) is session:
            del self.sessions[session.id]

    def saw(self, session, text):
        self.seen.append((session.id, text))

    async def cancel(self, number, key):
        session = self.sessions.get(number)
        if session is None or session.key != key or session.pg_key is None:
            self.counts["cancels of nobody"] += 1
            return
        self.counts["cancels"] += 1
        if session.holding:
            session.cancelled = True
            return
        reader, writer = await asyncio.open_connection(*self.upstream)
        writer.write(struct.pack("!IIII", 16, login.CANCEL, *session.pg_key))
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    async def provide_nodes(self, database):
        """pgxc_node is a view in PostgreSQL, made when somebody first asks for it."""
        async with self._making_nodes:
            if database not in self._with_nodes:
                known = self.nodes or [(self.name, self.host, self.port)]
                await nodes.provide(self.upstream, self.admin, database, known)
                self._with_nodes.add(database)

    async def provide_roles(self, database):
        """pg_authid as it is now: the fake coordinator's own roles."""
        async with self._making_nodes:
            await nodes.provide_roles(self.upstream, self.admin, database, self.roles.values())

    # --- For tests -------------------------------------------------------------------------------

    def add_role(self, role):
        self._do(self.roles.__setitem__, role.name, role)
        return role

    def role(self, name) -> Role:
        return self.roles[name]

    def unlock(self, name):
        """ALTER USER ... ACCOUNT UNLOCK"""
        self.roles[name].locked = False
        self.roles[name].failures = 0

    def set_nodes(self, known):
        """What pgxc_node says from now on."""
        self.nodes = known
        self._do(self._with_nodes.clear)

    def set_session_timeout(self, seconds):
        def set_all():
            self.session_timeout = seconds
            for session in self.sessions.values():
                session.timeout = seconds

        self._do(set_all)

    def switchover(self, seconds=None, doom=True, **fault):
        """Data nodes are away: what needs them fails. Without `seconds`, until heal(). `doom`:
        transactions that have been there are lost, whenever they go on."""
        return self._do(self._switchover, Fault(seconds=seconds, **fault), doom)

    def _switchover(self, fault, doom):
        for session in self.sessions.values():
            if doom and session.touched and session.block:
                session.doomed = fault
        return self.faults.add(fault)

    def fail_next(self, count=1, **fault):
        """The next statements that need a data node fail, or those that `match` a pattern."""
        return self._do(self.faults.add, Fault(count=count, **fault))

    def heal(self):
        """Everything is well again: faults, read-only, refused log-ins, the frozen state."""
        def well():
            self.faults.heal()
            self.faults.read_only = False
            self.refusing = None
            self.thawed.set()

        self._do(well)

    def set_read_only(self, on=True):
        """A disk is full: 25006 for all that writes."""
        self.faults.read_only = on

    def refuse_logins(self, code="57P03", text="the database system is starting up"):
        self.refusing = (code, text)

    def freeze(self):
        """Nothing goes through any more, and nothing ends: as with SIGSTOP."""
        self._do(self.thawed.clear)

    def thaw(self):
        self._do(self.thawed.set)

    def kill_sessions(self, user=None):
        """FATAL 57P01 for all (of the role); how many."""
        def kill():
            victims = [session for session in self.sessions.values()
                       if user in (None, session.role.name)]
            for session in victims:
                session.kill()
            return len(victims)

        return self._do(kill)

    def die(self, mode="reset"):
        """The coordinator is gone: nobody listens, and all connections are `reset` or `close`d."""
        self._call(self._die(mode))

    async def _die(self, mode):
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in list(self._connections):
            end = writer.get_extra_info("socket")
            if mode == "reset" and end is not None:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def revive(self):
        """It is back, at the same port, and remembers its roles and their failures."""
        if self._listener is None:
            self._call(self._listen())

    def status(self):
        return self._do(self._status)

    def _status(self):
        return {
            "name": self.name, "port": self.port, "alive": self._listener is not None,
            "sessions": len(self.sessions), "faults": len(self.faults.current()),
            "read_only": self.faults.read_only, "counts": dict(self.counts),
            "crashes": [repr(problem) for problem in self.crashes],
            "roles": {role.name: {"attempts": role.attempts, "wrong": role.wrong,
                                  "failures": role.failures, "locked": role.locked}
                      for role in self.roles.values()},
        }

    def said(self, pattern):
        """The statements of clients that are like the pattern (of re, anywhere, any case)."""
        return [text for _, text in list(self.seen) if re.search(pattern, text, re.I)]

    def close(self):
        """Ends it; complains if anything went wrong inside."""
        self._end()
        if self.crashes:
            raise RuntimeError(f"the fake coordinator stumbled: {self.crashes!r}") \
                from self.crashes[0]

    def _end(self):
        if self._thread.is_alive():
            self._call(self._die("close"))
            if self._control is not None:
                self._do(self._control.close)
                os.unlink(self.control_path)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()
        if self._tls_folder:
            shutil.rmtree(self._tls_folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
