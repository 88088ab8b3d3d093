"""The fake coordinator in a process of its own: needed where a client blocks without letting
Python's other threads run, as psycopg2's cancel() does."""

import json
import os
import subprocess
import sys

TESTS = os.path.join(os.path.dirname(__file__), "..", "..")


class CnProcess:
    """`roles` as the command line of fake_cn takes them: "name=password,pg_user=postgres"."""

    def __init__(self, pg, *roles, options=()):
        command = [sys.executable, "-m", "fake_cn", "--upstream", f"127.0.0.1:{pg.port}", *options]
        for role in roles:
            command += ["--role", role]
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(command, env=dict(os.environ, PYTHONPATH=TESTS),
                                        stdout=subprocess.PIPE, text=True)
        self.port = json.loads(self.process.stdout.readline())["port"]

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()
        if self.process.returncode != 0:
            raise RuntimeError(f"the fake coordinator ended with {self.process.returncode}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
