"""Free TCP ports on loopback."""

import itertools
import os
import socket

# Below what connect() takes its ports from (net.ipv4.ip_local_port_range begins at 32768), so that
# no outgoing connection takes one between here and its use; never the same one twice in a process.
_FIRST, _LAST = 16001, 32000
_candidates = itertools.count((os.getpid() * 97) % (_LAST - _FIRST))


def free_port() -> int:
    """A port that nobody listens on now."""
    for step in itertools.islice(_candidates, _LAST - _FIRST):
        port = _FIRST + step % (_LAST - _FIRST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError(f"no free port between {_FIRST} and {_LAST}")
