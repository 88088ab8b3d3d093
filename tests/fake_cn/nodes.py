"""pgxc_node: the cluster's list of its nodes, as a view in PostgreSQL's own catalog, where
everybody finds it whatever the search_path."""

import asyncio
import struct

from .frames import Frames, query

VIEW = """
set allow_system_table_mods = on;
select pg_advisory_lock(5001);
create or replace view pg_catalog.pgxc_node as
  select name::name as node_name, type::"char" as node_type, port::int as node_port,
         host::name as node_host, port::int as node_port1, host::name as node_host1,
         true as hostis_primary, first as nodeis_primary, first as nodeis_preferred,
         id::int as node_id, 0 as sctp_port, 0 as control_port, 0 as sctp_port1,
         0 as control_port1, first as nodeis_central
  from (values {rows}) as node(name, type, host, port, id, first);
grant select on pg_catalog.pgxc_node to public;
"""


def quoted(text):
    return "'" + str(text).replace("'", "''") + "'"


async def provide(upstream, admin, database, known):
    """Makes the view, as a superuser; what keeps it from that is an error."""
    rows = [(name, "C", host, port, number, number == 0)
            for number, (name, host, port) in enumerate(known)]
    rows.append(("dn_6003_6004", "D", known[0][1], 40000, len(rows), False))
    values = ", ".join(f"({quoted(name)}, '{kind}', {quoted(host)}, {port}, {number}, {first})"
                       for name, kind, host, port, number, first in rows)
    reader, writer = await asyncio.open_connection(*upstream)
    try:
        body = (struct.pack("!I", 196608) + b"user\0" + admin.encode() + b"\0database\0" +
                database.encode() + b"\0\0")
        writer.write(struct.pack("!I", len(body) + 4) + body)
        frames = Frames(reader)
        await ready(frames)
        writer.write(query(VIEW.format(rows=values)))
        await ready(frames)
    finally:
        writer.close()


async def ready(frames):
    while True:
        kind, body = await frames.one()
        if kind == b"E":
            raise RuntimeError(f"pgxc_node cannot be made: {body!r}")
        if kind == b"Z":
            return
