"""A fake coordinator in the foreground, until SIGTERM or SIGINT.

    PYTHONPATH=tests /usr/bin/python3 -m fake_cn --upstream 127.0.0.1:5432 \\
        --role app=secret --role old=secret,kind=md5 --port 8000 --control /tmp/cn.sock
    echo 'switchover seconds=5 retry=on' | socat - UNIX:/tmp/cn.sock
"""

import argparse
import json
import signal
import sys
import threading

from . import FakeCn, Role


def role(text):
    """NAME=PASSWORD[,kind=...][,iterations=...][,pg_user=...]"""
    first, *rest = text.split(",")
    name, _, password = first.partition("=")
    more = dict(part.split("=", 1) for part in rest)
    if "iterations" in more:
        more["iterations"] = int(more["iterations"])
    return Role(name, password or None, **more)


def address(text):
    host, _, port = text.rpartition(":")
    return host or "127.0.0.1", int(port)


def node(text):
    name, _, where = text.partition("=")
    return (name, *address(where))


def main():
    parser = argparse.ArgumentParser(prog="fake_cn", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=address, required=True, metavar="HOST:PORT",
                        help="the PostgreSQL behind it, which has to trust it")
    parser.add_argument("--role", type=role, action="append", default=[], help=role.__doc__)
    parser.add_argument("--hba", choices=["sha256", "md5", "sm3", "trust"], default="sha256")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--name", default="cn_5001")
    parser.add_argument("--node", type=node, action="append", metavar="NAME=HOST:PORT",
                        help="a coordinator that pgxc_node lists; this one alone without any")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--require-ssl", action="store_true")
    parser.add_argument("--session-timeout", type=float, default=600)
    parser.add_argument("--failed-login-attempts", type=int, default=10)
    parser.add_argument("--startup-severity", choices=["ERROR", "FATAL"], default="ERROR")
    parser.add_argument("--max-connections", type=int, default=800)
    parser.add_argument("--discard", action="store_true", help="DISCARD works, as from 8.2.0")
    parser.add_argument("--control", metavar="PATH", help="a Unix socket for commands")
    options = vars(parser.parse_args())
    options.update(roles=options.pop("role"), nodes=options.pop("node"))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with FakeCn(**options) as cn:
        print(json.dumps({"port": cn.port}), flush=True)
        ended.wait()


if __name__ == "__main__":
    sys.exit(main())
