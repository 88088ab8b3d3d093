"""Free TCP ports on loopback."""

import socket


def free_port() -> int:
    """A port that nobody listens on now. Kept out of the range that outgoing connections use."""
    for _ in range(200):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # The kernel hands out even numbers to connect() first; an odd one is rarely taken twice.
        if port % 2 == 1:
            return port
    return port
