"""A relay in front of a server or of a dwspool that knows the frames of the protocol, and does to
a chosen one what a network, a crash or a hostile peer would do.

    relay = Relay(server.port)
    rule = relay.rule("reset", frame="C", direction=TO_CLIENT, contains=b"COMMIT", after=0)
    ...
    rule.wait()
"""

import contextlib
import selectors
import socket
import struct
import threading
import time

from . import wire
from .ports import free_port
from .relay_stream import TO_CLIENT, TO_SERVER, Stream

LIMIT = 256 * 1024  # bytes on their way in one direction: then nothing more is read
MAX_CONNECTIONS = 2000

ACTIONS = {"reset", "fin", "black_hole", "delay", "replace", "inject", "duplicate"}


def error_response(code="57P01", message="injected error", severity="ERROR") -> bytes:
    return _report(b"E", code, message, severity)


def notice_response(code="00000", message="injected notice", severity="NOTICE") -> bytes:
    return _report(b"N", code, message, severity)


def _report(kind, code, message, severity):
    fields = (("S", severity), ("V", severity), ("C", code), ("M", message))
    return wire.message(kind, b"".join(key.encode() + wire.cstr(text) for key, text in fields)
                        + b"\0")


class Rule:
    """What Relay.rule() returns. `fired` counts how often it came true, `where` says on which
    (connection, frame type, number of the frame in its direction)."""

    def __init__(self, action, frame, direction, **options):
        self.action = action
        self.frame = frame
        self.direction = direction
        self.__dict__.update(options)
        self.seen = 0
        self.fired = 0
        self.where = []
        self._event = threading.Event()

    def __repr__(self):
        return (f"<{self.action} on {self.frame or 'any frame'} {self.direction} n={self.n} "
                f"after={self.after}: fired {self.fired}>")

    def wait(self, timeout=10):
        """Until it has come true once."""
        if not self._event.wait(timeout):
            raise AssertionError(f"did not come true within {timeout} s: {self}")
        return self

    def interested(self, connection, direction, kind):
        """Whether its frame may be this one, which is then looked at."""
        return (self.direction == direction and self.frame in (None, kind)
                and self.connection in (None, connection)
                and (self.times is None or self.fired < self.times))

    def matches(self, body):
        if self.contains is not None and self.contains not in body:
            return False
        self.seen += 1
        return self.seen % self.n == 0

    def fire(self, *where):
        self.fired += 1
        if len(self.where) < 1000:
            self.where.append(where)
        self._event.set()


class Relay:
    """Forwards connections to `target_port` on loopback, which may be changed at any time for
    those to come. `connections` counts all so far; `open` lists those of now; the first one has
    the number 1. A connection for a cancel request or for nothing at all counts, too.
    `keeps_port`: the server sees the port that the client has."""

    def __init__(self, target_port, keeps_port=False):
        self.target_port = target_port
        self.keeps_port = keeps_port
        self.port = free_port()
        self.connections = 0
        self.rules = ()
        self._lock = threading.Lock()
        self._links = set()
        self.paused = set()
        self._jobs = []
        self._closing = False
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"relay {self.port}")
        self._thread.start()

    def rule(self, action, frame=None, direction=TO_CLIENT, *, n=1, times=1, after=None,
             connection=None, contains=None, ends="both", seconds=0.2, error=None, data=None,
             ready=None):
        """A rule for frames that come from now on.

        Which frame: of the type `frame` (a letter; "startup", "ssl", "cancel" for those without;
        None is any) in the `direction`, on the `connection` of that number (None is any), with
        the bytes `contains` in the first 64 kB of its body. The n-th of these, then the 2n-th and
        so on, but at most `times` (None is always).

        What is done, when `after` bytes of the frame (None is all of them, -1 all but one) have
        been passed on:
        * reset, fin, black_hole (silence from now on): to both `ends`, or only to the "client" or
          the "server", and the other one hears nothing more;
        * delay: this direction rests for so many `seconds`.
        At the frame's start or, with after=None, its end:
        * inject: `data` goes out in this direction; without data, a notice (`error` = code,
          message, severity) goes to the client.
        With the whole frame:
        * replace: by `data`, or by an ErrorResponse (`error`) that goes to the client, also if
          the frame was for the server, which then does not get it; with `ready` (b"I", b"T" or
          b"E") a ReadyForQuery follows;
        * duplicate."""
        if action not in ACTIONS or direction not in (TO_CLIENT, TO_SERVER):
            raise ValueError(f"no such action or direction: {action} {direction}")
        if action == "inject" and after not in (None, 0):
            raise ValueError("inject goes before a frame (after=0) or behind it (after=None)")
        if ends not in ("both", "client", "server") or n < 1:
            raise ValueError(f"bad ends or n: {ends} {n}")
        to_client = False
        if data is None and action in ("replace", "inject"):
            make = error_response if action == "replace" else notice_response
            data = make(*(error or ()))
            to_client = True
        if ready is not None:
            data += wire.message(b"Z", ready)
        rule = Rule(action, frame, direction, n=n, times=times, after=after, ends=ends,
                    connection=connection, contains=contains, seconds=seconds, data=data,
                    data_to_client=to_client)
        with self._lock:
            self.rules += (rule,)
        return rule

    def remove(self, rule):
        with self._lock:
            self.rules = tuple(other for other in self.rules if other is not rule)

    def clear(self):
        """No rules any more."""
        with self._lock:
            self.rules = ()

    @property
    def open(self):
        """The numbers of the connections that are open."""
        with self._lock:
            return sorted(link.number for link in self._links)

    def cut(self, how="reset", ends="both", number=None):
        """Does this (reset, fin, black_hole) to all connections, or to one, now."""
        done = threading.Event()

        def job():
            for link in list(self._links):
                if number in (None, link.number):
                    link.end(how, ends)
            done.set()

        self._do(job)
        done.wait(5)

    def close(self):
        """Ends everything."""
        self._closing = True
        self._do(None)
        self._thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # In the relay's thread.

    def _do(self, job):
        with self._lock:
            if job:
                self._jobs.append(job)
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def _run(self):
        try:
            while not self._closing:
                self._turn()
        finally:
            for link in list(self._links):
                link.close()
            for end in (self._listener, self._wake, self._waker, self._selector):
                end.close()

    def _turn(self):
        now = time.monotonic()
        timeout = None
        for link in list(self.paused):
            until = link.resume(now)
            if until is None:
                self.paused.discard(link)
            else:
                timeout = until - now if timeout is None else min(timeout, until - now)
        for key, events in self._selector.select(timeout):
            if key.data is not None:
                key.data[0].on_event(key.data[1], events)
            elif key.fileobj is self._listener:
                self._accept()
            else:
                self._wake.recv(4096)
                with self._lock:
                    jobs, self._jobs = self._jobs, []
                for job in jobs:
                    job()

    def _accept(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        if len(self._links) >= MAX_CONNECTIONS:
            client.close()
            return
        self.connections += 1
        Link(self, self.connections, client)


class Link:
    """One connection: two sockets, and a stream in each direction."""

    def __init__(self, relay, number, client):
        self.relay = relay
        self.number = number
        self.client = client
        self.server = socket.socket()
        self.to_server = Stream(self, TO_SERVER, client, self.server)
        self.to_client = Stream(self, TO_CLIENT, self.server, client)
        self.streams = (self.to_server, self.to_client)
        self.to_server.other, self.to_client.other = self.to_client, self.to_server
        self.pending_end = None
        self.silent = False  # what comes is thrown away, ends of connections are not passed on
        self.closed = False
        self.connecting = True
        self.interest = {}
        with relay._lock:
            relay._links.add(self)
        for end in (client, self.server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if relay.keeps_port:
            self.server.bind(("127.0.0.2", client.getpeername()[1]))
        self.server.connect_ex(("127.0.0.1", relay.target_port))
        self.update()

    def on_event(self, end, events):
        if self.closed:
            return
        try:
            if self.connecting:
                problem = self.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if problem:
                    raise ConnectionError(problem)
                self.connecting = False
            incoming = self.to_server if end is self.client else self.to_client
            if events & selectors.EVENT_WRITE:
                incoming.other.flush()
            if events & selectors.EVENT_READ:
                self.read(incoming)
            self.flush()
        except OSError:
            if self.silent:
                self.drop(end)
            else:
                self.close(reset=True)
        self.update()

    def read(self, stream):
        try:
            data = stream.source.recv(65536)
        except BlockingIOError:
            return
        if data:
            if not self.silent:
                stream.feed(data)
            return
        if self.silent:
            self.drop(stream.source)
        else:
            stream.finish()

    def flush(self):
        for stream in self.streams:
            if not self.closed:
                stream.flush()
        if self.closed or self.silent:
            return
        if self.pending_end and not self.pending_end[2].out:
            how, ends, _ = self.pending_end
            self.end(how, ends)
            return
        for stream in self.streams:
            if stream.ended and not stream.held and not stream.out and not stream.told_end:
                stream.told_end = True
                with contextlib.suppress(OSError):
                    stream.sink.shutdown(socket.SHUT_WR)
        if all(stream.told_end for stream in self.streams):
            self.close()

    def end_after(self, stream, how, ends):
        """`how` to `ends` as soon as what the stream has to send is out."""
        self.pending_end = (how, ends, stream)
        stream.stopped = True

    def end(self, how, ends="both"):
        if self.closed:
            return
        if how == "reset" and ends == "both":
            self.close(reset=True)
            return
        self.silent = True
        for stream in self.streams:
            stream.clear()
        for name, end in (("client", self.client), ("server", self.server)):
            if how != "black_hole" and ends in (name, "both"):
                if how == "reset":
                    self.drop(end, reset=True)
                else:
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_WR)
        self.update()

    def drop(self, end, reset=False):
        """One of the two ends is over, the other stays as it is."""
        if self.interest.pop(end, 0):
            self.relay._selector.unregister(end)
        if reset:
            abort_on_close(end)
        end.close()
        if self.client.fileno() < 0 and self.server.fileno() < 0:
            self.close()

    def close(self, reset=False):
        if self.closed:
            return
        self.closed = True
        with self.relay._lock:
            self.relay._links.discard(self)
        for end in (self.client, self.server):
            if end.fileno() >= 0:
                self.drop(end, reset)

    def resume(self, now):
        """Goes on after a delay; when the next one ends, if one is under way."""
        waits = []
        for stream in self.streams:
            if stream.paused_until is not None and not self.closed:
                if stream.paused_until > now:
                    waits.append(stream.paused_until)
                    continue
                stream.paused_until = None
                stream.work()
                try:
                    self.flush()
                except OSError:
                    self.close(reset=True)
                self.update()
                if stream.paused_until is not None:
                    waits.append(stream.paused_until)
        return min(waits) if waits else None

    def wants_more(self, stream):
        return (not self.connecting and not stream.stopped and stream.paused_until is None
                and len(stream.out) < LIMIT)

    def update(self):
        """What the selector is to look for."""
        if self.closed:
            return
        for incoming in self.streams:
            end, outgoing = incoming.source, incoming.other
            if end.fileno() < 0:
                continue
            wanted = 0
            if not incoming.ended and (self.silent or self.wants_more(incoming)):
                wanted |= selectors.EVENT_READ
            if outgoing.out or (self.connecting and end is self.server):
                wanted |= selectors.EVENT_WRITE
            had = self.interest.get(end, 0)
            if wanted == had:
                continue
            selector = self.relay._selector
            if not had:
                selector.register(end, wanted, (self, end))
            elif not wanted:
                selector.unregister(end)
            else:
                selector.modify(end, wanted, (self, end))
            self.interest[end] = wanted


def abort_on_close(end):
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
