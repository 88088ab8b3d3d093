"""Processes of dwspool that take over from each other (SIGUSR2)."""

import os
import signal

from .proxy import wait_until


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return [int(child) for child in file.read().split()]


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Succession:
    """Hands over from process to process, and ends the last one."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.pid = proxy.process.pid
        self.all = [self.pid]

    def hand_over(self, by=signal.SIGUSR2):
        done = self.proxy.log().count("[process.handed_over]")
        os.kill(self.pid, by)
        wait_until(lambda: self.proxy.log().count("[process.handed_over]") > done, timeout=30, what="a handover")
        line = [line for line in self.proxy.log().splitlines() if "[process.handed_over]" in line][-1]
        self.pid = int(line.rsplit("pid=", 1)[1].split()[0])
        self.all.append(self.pid)

    def end(self):
        for pid in self.all[1:]:
            if is_running(pid):
                os.kill(pid, signal.SIGTERM)
        for pid in self.all[1:]:
            wait_until(lambda: not is_running(pid), timeout=20, what="the end")  # noqa: B023
