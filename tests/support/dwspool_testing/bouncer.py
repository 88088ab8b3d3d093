"""A PgBouncer, to be compared with."""

import os
import pwd
import shutil
import subprocess
import tempfile

import psycopg2

from .ports import free_port
from .proxy import wait_until


class PgBouncer:
    """Trusts everybody, as user postgres, before the server `pg`; `settings` as in its file."""

    def __init__(self, pg, **settings):
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="dwspool-bouncer-")
        path = os.path.join(self.folder, "pgbouncer.ini")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"[databases]\n* = host=127.0.0.1 port={pg.port} user=postgres\n"
                       f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
                       "auth_type = any\nmax_client_conn = 1000\nunix_socket_dir =\n"
                       "ignore_startup_parameters = extra_float_digits\n")
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        os.chmod(self.folder, 0o755)
        account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        with open(os.path.join(self.folder, "log"), "wb") as log:
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen(
                [shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin"), path],
                stdout=log, stderr=log, user=account and account.pw_uid)

    def dsn(self):
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def _answers(self):
        try:
            psycopg2.connect(self.dsn()).close()
            return True
        except psycopg2.OperationalError:
            return False

    def __enter__(self):
        wait_until(self._answers, what="PgBouncer's answer")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)
