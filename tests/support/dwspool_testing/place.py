"""A dwspool before a PostgreSQL, or before a coordinator played in front of it, in one pool mode:
what tests of drivers ask the same questions of."""

from .cn_process import CnProcess
from .observer import Observer
from .proxy import Proxy

import psycopg2

PASSWORD = "Gauss@123"


class Place:
    """`target`: "postgres" or "dws"."""

    def __init__(self, pg, target, mode, **defaults):
        self.pg = pg
        self.target = target
        self.mode = mode
        self.is_dws = target == "dws"
        self.observer = Observer(pg)
        self.cn = None
        port, users = pg.port, {"*": {}}
        if self.is_dws:
            self.cn = CnProcess(pg, f"dbadmin={PASSWORD},pg_user=postgres")
            port, users = self.cn.port, {"dbadmin": {"password": PASSWORD}}
        self.user = "dbadmin" if self.is_dws else "postgres"
        self.proxy = Proxy({
            "auth_method": "trust",
            "shutdown_timeout": "3s",
            "defaults": {"pool_mode": mode, "pool_size": 6 if mode != "session" else 40,
                         "queue_timeout": "10s", **defaults},
            "clusters": {"main": {"coordinators": [f"127.0.0.1:{port}"]}},
            "databases": {"*": {}},
            "users": users,
        })

    def __enter__(self):
        self.proxy.start()
        return self

    def __exit__(self, kind, value, trace):
        try:
            print(f"--- log of dwspool {self.target} {self.mode} ---\n{self.proxy.log()[-6000:]}")
            self.proxy.destroy()
        finally:
            self.observer.close()
            if self.cn:
                self.cn.close()

    def connect(self, autocommit=False, **options):
        connection = psycopg2.connect(self.proxy.dsn(self.user), **options)
        if autocommit:
            connection.autocommit = True
        return connection

    def pinned(self):
        """How often a session was bound to its backend so far."""
        return self.proxy.metric("dwspool_session_pins_total")


def run(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


def value(connection, sql, values=None):
    (found,), *_ = run(connection, sql, values)
    return found
