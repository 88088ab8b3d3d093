#!/usr/bin/python3
"""Writes src/retry/builtin_functions.inc: the functions of PostgreSQL that change nothing.

A name is in it when every function of that name in pg_catalog is immutable or stable. Asked from a
PostgreSQL 15 that is started for it; tests/integration/catalog_test.py compares.

usage: make_builtin_functions.py [FILE]     ("-" for standard output)
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from dwspool_testing.postgres import Postgres  # noqa: E402

QUERY = """
select proname, bool_or(proretset), bool_or(prokind = 'a')
from pg_proc
where pronamespace = 'pg_catalog'::regnamespace and prokind <> 'p'
  and proname !~ '^(table|schema|database)_to_xml'  -- they read whatever relation is named to them
group by proname
having bool_and(provolatile in ('i', 's'))
   and not bool_and('internal'::regtype = any (proargtypes) or prorettype = 'internal'::regtype
                    or 'cstring'::regtype = any (proargtypes))
order by proname collate "C"
"""

HEAD = """\
// Made by tests/data/make_builtin_functions.py from PostgreSQL 15; not to be edited.
// Name, and what it is besides: 's' may return several rows, 'a' an aggregate.
"""


def lines_of(server):
    """The content of the file, by this server."""
    lines = [HEAD]
    for row in server.psql(QUERY).splitlines():
        name, rows, aggregate = row.split("|")
        kind = "s" if rows == "t" else "a" if aggregate == "t" else "-"
        lines.append(f"{{\"{name}\", '{kind}'}},\n")
    return "".join(lines)


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "src/retry/builtin_functions.inc")
    server = Postgres(name="functions").init().start()
    try:
        text = lines_of(server)
    finally:
        server.destroy()
    if target == "-":
        sys.stdout.write(text)
    else:
        pathlib.Path(target).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
