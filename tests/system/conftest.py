"""A PostgreSQL for what runs in containers; they share the host's network."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))

from dwspool_testing.postgres import Postgres  # noqa: E402


@pytest.fixture(scope="session")
def pg():
    server = Postgres(hba=["host all app 127.0.0.1/32 scram-sha-256"], name="system").init().start()
    try:
        server.psql("create role app login password 'app secret'")
        yield server
    finally:
        server.destroy()


# Container runtimes want either version of the control groups, and some hosts have both at once: in
# a mount name space of its own, the process sees the second only.
PREPARE = """
mount --make-rprivate /
if [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ]; then
  umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup
fi
"""


def apart(script, *arguments):
    """The command that runs the shell script in a mount name space of its own."""
    return ["unshare", "--mount", "sh", "-ec", PREPARE + script, "sh", *arguments]


def status_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def descendants(pid):
    found = []
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        found += [int(child), *descendants(int(child))]
    return found
