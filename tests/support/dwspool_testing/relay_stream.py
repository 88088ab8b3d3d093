"""One direction of a relayed connection: cuts frames, and does with them what rules say."""

import struct
import time

TO_SERVER = "to_server"
TO_CLIENT = "to_client"

CODES = {80877102: "cancel", 80877103: "ssl", 80877104: "gss"}
LOOKED_AT = 64 * 1024  # bytes of a body in which a rule searches
DUPLICATED = 16 * 1024 * 1024  # the largest frame that can be sent twice
_length = struct.Struct("!I").unpack_from


class Stream:
    """`feed` takes what has come, `out` is what is to be sent."""

    def __init__(self, link, direction, source, sink):
        self.link = link
        self.direction = direction
        self.source = source
        self.sink = sink
        self.other = None
        self.out = bytearray()
        self.held = bytearray()  # received, and not yet decided what becomes of it
        self.left = 0  # bytes of the current frame that pass (or are dropped) before `then`
        self.dropping = False
        self.then = None  # (rule, bytes of the frame behind)
        self.inserted = bytearray()  # from outside: goes out at the end of the current frame
        self.frames = 0
        self.started = direction == TO_CLIENT  # frames have types
        self.one_byte = 0  # answers to an SSL request
        self.raw = False  # encrypted, or no protocol at all
        self.paused_until = None
        self.stopped = False
        self.ended = self.told_end = False

    def feed(self, data):
        self.held += data
        self.work()

    def finish(self):
        """No more comes."""
        self.ended = True
        self.work()

    def clear(self):
        self.out.clear()
        self.held.clear()
        self.left, self.then = 0, None

    def insert(self, data):
        """Something that the source did not send, at the next border of frames."""
        if self.left or self.then:
            self.inserted += data
        else:
            self.out += data

    def flush(self):
        while self.out and not self.link.connecting:
            try:
                sent = self.sink.send(self.out)
            except BlockingIOError:
                return
            del self.out[:sent]

    def work(self):
        while self.paused_until is None and not self.stopped:
            if self.left:
                if not self.held:
                    break
                self._pass(min(self.left, len(self.held)))
            elif self.then:
                self._act()
            elif not self.held:
                break
            elif self.raw:
                self.out += self.held
                self.held.clear()
            elif not self._skip_boring() and not self._next_frame():
                break
        if self.ended and self.paused_until is None and not self.stopped:
            self.out += self.held
            self.held.clear()

    def _pass(self, count):
        if not self.dropping:
            self.out += self.held[:count]
        del self.held[:count]
        self.left -= count
        if self.left == 0 and not self.then:
            self._frame_done()

    def _frame_done(self):
        self.dropping = False
        if self.inserted:
            self.out += self.inserted
            self.inserted.clear()

    def _skip_boring(self):
        """While there are no rules: whole frames at once. True if anything went."""
        if self.link.relay.rules or not self.started or self.one_byte:
            return False
        held, position, end, frames = self.held, 0, len(self.held), 0
        while end - position >= 5:
            length = _length(held, position + 1)[0] + 1
            if length < 5 or length > end - position:
                break
            position += length
            frames += 1
        if position:
            self.out += held[:position]
            del held[:position]
            self.frames += frames
        return position > 0

    def _header(self):
        """(type, length of the whole frame, length of its header), or None: not there yet."""
        held = self.held
        if self.one_byte:
            return "answer", 1, 0
        if self.started:
            if len(held) < 5:
                return None
            return chr(held[0]), _length(held, 1)[0] + 1, 5
        if len(held) < 8:
            return None
        return CODES.get(_length(held, 4)[0], "startup"), _length(held)[0], 4

    def _next_frame(self):
        """Decides what becomes of the frame that starts here; False if more of it is needed."""
        header = self._header()
        if header is None:
            return False
        kind, length, prefix = header
        if length < prefix or length > 1 << 30 or (not self.started and length < 8):
            self.raw = True
            return True
        number = self.link.number
        rules = [rule for rule in self.link.relay.rules
                 if rule.interested(number, self.direction, kind)]
        needed = 0
        for rule in rules:
            if rule.contains is not None:
                needed = max(needed, min(length, LOOKED_AT))
            if rule.action == "duplicate" and length <= DUPLICATED:
                needed = max(needed, length)
        if len(self.held) < needed and not self.ended:
            return False
        self.frames += 1
        body = bytes(self.held[prefix:min(length, LOOKED_AT)]) if needed else b""
        chosen = None
        for rule in rules:  # every rule counts, the first one acts
            if rule.matches(body) and chosen is None:
                if rule.action != "duplicate" or len(self.held) >= length:
                    chosen = rule
                    rule.fire(number, kind, self.frames)
        self._begin(kind, length, chosen)
        return True

    def _begin(self, kind, length, rule):
        if not self.started and kind in ("ssl", "gss"):
            self.other.one_byte += 1
        elif not self.started:
            self.started = True
        if kind == "answer":
            self.one_byte -= 1
            if self.held[:1] != b"N":
                self.raw = self.other.raw = True  # behind this byte
        self.left = length
        if rule is None:
            return
        if rule.action == "replace":
            self.dropping = True
            self._send_own(rule)
        elif rule.action == "inject" and rule.after == 0:
            self._send_own(rule)
        elif rule.action == "duplicate":
            self.out += self.held[:length]
        else:
            after = length if rule.after is None else rule.after
            self.left = max(0, length + after) if after < 0 else min(after, length)
            self.then = (rule, length - self.left)

    def _send_own(self, rule):
        """At a border of frames: here, or in the other direction, which may not be at one."""
        if rule.data_to_client and self.direction == TO_SERVER:
            self.other.insert(rule.data)
        else:
            self.out += rule.data

    def _act(self):
        rule, self.left = self.then
        self.then = None
        if rule.action == "delay":
            self.paused_until = time.monotonic() + rule.seconds
            self.link.relay.paused.add(self.link)
        elif rule.action == "inject":
            self._send_own(rule)
        else:
            self.link.end_after(self, rule.action, rule.ends)
        if self.left == 0:
            self._frame_done()
