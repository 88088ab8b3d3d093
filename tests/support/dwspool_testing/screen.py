"""A terminal that a program runs in, and what is to be seen on it: as much of one as is needed."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])")


class Screen:
    """Starts the command on a pseudo terminal that is its controlling one."""

    def __init__(self, command, columns=100, rows=30, env=None):
        self.columns, self.rows = columns, rows
        self.text = ""  # all that came
        self.status = None
        settled, go = os.pipe()
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.read(settled, 1)  # until the window has its size
            os.execvpe(command[0], command, dict(os.environ, TERM="xterm", **(env or {})))
        self.resize(columns, rows)
        self.before = self.attributes()
        os.write(go, b"x")
        os.close(go)
        os.close(settled)

    def attributes(self):
        return termios.tcgetattr(self.master)

    def is_as_before(self):
        """Whether the terminal is as the program found it."""
        return (self.attributes() == self.before and not self.in_alternate and self.cursor_visible)

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.master, keys.encode())

    def read(self, seconds=0.0):
        """Takes in what comes within the time, and looks whether the program has ended."""
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            if select.select([self.master], [], [], left)[0]:
                try:
                    piece = os.read(self.master, 65536)
                except OSError:
                    piece = b""  # nobody has the other end any more
                if not piece:
                    break
                self.text += piece.decode()
            elif left <= 0:
                break
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)

    def is_stopped(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "T"

    def wait(self, timeout=10.0):
        """The exit status."""
        deadline = time.monotonic() + timeout
        while self.status is None:
            assert time.monotonic() < deadline, "it does not end:\n" + "\n".join(self.lines())
            self.read(0.05)
        self.read()
        return self.status

    def wait_for(self, *words, timeout=10.0):
        """Until all of the words are on one line; the line."""
        deadline = time.monotonic() + timeout
        while True:
            self.read(0.05)
            for line in self.lines():
                if all(word in line for word in words):
                    return line
            assert self.status is None, f"it has ended with {self.status}:\n{self.text}"
            assert time.monotonic() < deadline, f"no line with {words}:\n" + "\n".join(self.lines())

    @property
    def in_alternate(self):
        return self.text.rfind("\x1b[?1049h") > self.text.rfind("\x1b[?1049l")

    @property
    def cursor_visible(self):
        return self.text.rfind("\x1b[?25l") <= self.text.rfind("\x1b[?25h")

    def lines(self):
        """What is to be seen, line by line. What would have wrapped is an error."""
        shown, row, column = [""], 0, 0
        at = 0
        while at < len(self.text):
            match = SEQUENCE.match(self.text, at)
            if match:
                at = match.end()
                if match[2] == "H":
                    row = column = 0
                elif match[2] == "K":
                    shown[row] = shown[row][:column]
                elif match[2] == "J":
                    del shown[row + 1:]
                    shown[row] = shown[row][:column]
                elif match[2] == "h" and match[1] == "?1049":
                    shown, row, column = [""], 0, 0
                continue
            char = self.text[at]
            at += 1
            if char == "\r":
                column = 0
            elif char == "\n":
                row += 1
                while len(shown) <= row:
                    shown.append("")
            elif char == "\x1b":
                break  # half a sequence: the rest is on its way
            else:
                shown[row] = shown[row][:column].ljust(column) + char + shown[row][column + 1:]
                column += 1
        return shown

    def close(self):
        if self.status is None:
            self.read()
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.kill(self.pid, signal.SIGCONT)
            os.waitpid(self.pid, 0)
        os.close(self.master)
