"""A relay between dwspool and a server, with which a test delays, holds or counts connections."""

import contextlib
import selectors
import socket
import struct
import threading
import time

from .ports import free_port

CANCEL_CODE = 80877102


class Middleman:
    """Forwards connections to `target` (host, port). `on_first(packet)` is called with the first
    packet of each connection, and may block: that connection then waits, no other does.
    `hold_close` (seconds) delays telling the client side of a cancel connection of its end."""

    def __init__(self, target, on_first=None, hold_cancel_close=0.0):
        self.target = target
        self.port = free_port()
        self.on_first = on_first
        self.hold_cancel_close = hold_cancel_close
        self.cancels = 0
        self.connections = 0
        self.open = []
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        self.thread.join(5)

    def cut(self):
        """Ends all connections."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        server = None
        self.connections += 1
        self.open.append(client)
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            first = client.recv(65536)
            is_cancel = len(first) >= 8 and struct.unpack("!I", first[4:8])[0] == CANCEL_CODE
            self.cancels += is_cancel
            if self.on_first:
                self.on_first(first)
            server = socket.create_connection(self.target)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.open.append(server)
            server.sendall(first)
            self._relay(client, server)
            if is_cancel and self.hold_cancel_close:
                time.sleep(self.hold_cancel_close)
        except OSError:
            pass
        finally:
            for end in (client, server):
                if end is not None:
                    if end in self.open:
                        self.open.remove(end)
                    end.close()

    @staticmethod
    def _relay(client, server):
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(65536)
                    if not data:
                        return
                    key.data.sendall(data)
