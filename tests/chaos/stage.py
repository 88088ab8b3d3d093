"""What a storm plays on: clients - front relay - dwspool - back relay - server, and what a fault
may break of it. The back relay stands for the address of the primary, wherever that is."""

import contextlib
import os
import random
import subprocess
import time

from dwspool_testing.proxy import Proxy, binary, wait_until
from dwspool_testing.relay import Relay
from dwspool_testing.rig import Rig
from fake_cn import FakeCn, Role

SHUTDOWN_TIMEOUT = 2
PASSWORD = "the ledger's own"


class Stage:
    """A cluster of PostgreSQL servers: one primary and, if a fault needs them, two standbys, one of
    which must have a commit before it is acknowledged. Or a fake coordinator before one server."""

    def __init__(self, directory, standbys=0, fake_cn=False, mode="auto", replay="transaction",
                 workers=1, seed=0):
        self.directory = directory
        self.random = random.Random(seed)
        self.cleanup = contextlib.ExitStack()
        try:
            self.rig = self.cleanup.enter_context(Rig(standbys, synchronous=standbys > 0))
            self.cn = None
            if fake_cn:
                role = Role("ledger", PASSWORD)
                self.cn = self.cleanup.enter_context(
                    FakeCn(("127.0.0.1", self.rig.primary.port), [role]))
            self.tokens = replay == "token"
            if self.tokens:
                subprocess.run(
                    [binary(), "token", "install", f"host=127.0.0.1 port={self.rig.primary.port} "
                                                   "user=postgres dbname=postgres"],
                    check=True, timeout=30, stdout=subprocess.DEVNULL)
            self.back = self.cleanup.enter_context(Relay((self.cn or self.rig.primary).port))
            self.proxy = Proxy({
                "auth_method": "trust",
                "workers": workers,
                "log": {"level": "info"},
                "shutdown_timeout": f"{SHUTDOWN_TIMEOUT}s",
                # Fewer than clients: that backends change hands is the point.
                "defaults": {"pool_mode": mode, "replay": replay,
                             "pool_size": 4 if mode != "session" else 40,
                             "queue_timeout": "5s"},
                "clusters": {"main": {"coordinators": [f"127.0.0.1:{self.back.port}"],
                                      "connect_timeout": "3s",
                                      # That it fails over and over is the point.
                                      "replay": {"max_switchovers": 0}}},
                "databases": {"*": {}},
                "users": {"ledger": {"backend_password": PASSWORD}},
            })
            self.cleanup.callback(self._end_proxy)
            self.proxy.start()
            self.front = self.cleanup.enter_context(Relay(self.proxy.port))
        except BaseException:
            self.cleanup.close()
            raise

    @property
    def port(self):
        """Where clients go."""
        return self.front.port

    @property
    def server_port(self):
        """Where the truth is."""
        return self.rig.primary.port

    def _end_proxy(self):
        with open(os.path.join(self.directory, "dwspool.log"), "w", encoding="utf-8") as log:
            log.write(self.proxy.log())
        self.proxy.destroy()

    def tell_settled(self):
        """What became of COMMITs in doubt, since dwspool was started last."""
        if not self.tokens:
            return
        with contextlib.suppress(OSError):
            print("settled:     " + ", ".join(
                f"{reason} {self.proxy.metric('dwspool_replay_in_doubt_total', reason=reason):.0f}"
                for reason in ("committed", "aborted", "unknown")))

    def check(self):
        """That dwspool has not ended by itself."""
        status = self.proxy.process.poll()
        if status is not None:
            raise RuntimeError(f"dwspool has ended with status {status}:\n"
                               + self.proxy.log()[-4000:])

    def kill_proxy(self):
        self.proxy.process.kill()
        self.proxy.process.wait()
        self.proxy.process = None

    def mend(self):
        """Everything works again."""
        self.back.clear()
        self.front.clear()
        if self.cn is not None:
            self.cn.heal()
            self.cn.revive()
        wait_until(self.rig.primary.is_primary, 20, "an answer of the primary")
        if self.proxy.process is None:
            self.proxy.start()
        self.check()

    def pause(self, low, high):
        time.sleep(self.random.uniform(low, high))

    def close(self):
        self.cleanup.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
