"""What DWS's catalog has and PostgreSQL's has not, as views in the latter, where everybody finds them
whatever the search_path: pgxc_node, the cluster's list of its nodes, and its pg_authid."""

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

# pg_authid with the columns that dwspool could want; only administrators read it.
ROLES_VIEW = """
set allow_system_table_mods = on;
select pg_advisory_lock(5001);
create or replace view pg_catalog.fake_cn_authid as
  select id::oid as oid, name::name as rolname, true as rolcanlogin, admin as rolsystemadmin,
         password::text as rolpassword, valid_begin::timestamptz as rolvalidbegin,
         valid_until::timestamptz as rolvaliduntil
  from (values {rows}) as role(id, name, admin, password, valid_begin, valid_until);
"""


def quoted(text):
    return "null" if text is None else "'" + str(text).replace("'", "''") + "'"


async def provide(upstream, admin, database, known):
    """Makes the view, as a superuser; what keeps it from that is an error."""
    rows = [(name, "C", host, port, number, number == 0)
            for number, (name, host, port) in enumerate(known)]
    rows.append(("dn_6003_6004", "D", known[0][1], 40000, len(rows), False))
    values = ", ".join(f"({quoted(name)}, '{kind}', {quoted(host)}, {port}, {number}, {first})"
                       for name, kind, host, port, number, first in rows)
    await run(upstream, admin, database, VIEW.format(rows=values))


async def provide_roles(upstream, admin, database, roles):
    rows = [f"({10 + number}, {quoted(role.name)}, {role.pg_user == admin}, "
            f"{quoted(role.rolpassword)}, {quoted(role.valid_begin)}, {quoted(role.valid_until)})"
            for number, role in enumerate(roles)]
    await run(upstream, admin, database, ROLES_VIEW.format(rows=", ".join(rows)))


async def run(upstream, admin, database, sql):
    reader, writer = await asyncio.open_connection(*upstream)
    try:
        body = (struct.pack("!I", 196608) + b"user\0" + admin.encode() + b"\0database\0" +
                database.encode() + b"\0\0")
        writer.write(struct.pack("!I", len(body) + 4) + body)
        frames = Frames(reader)
        await ready(frames)
        writer.write(query(sql))
        await ready(frames)
    finally:
        writer.close()


async def ready(frames):
    while True:
        kind, body = await frames.one()
        if kind == b"E":
            raise RuntimeError(f"a view of the catalog cannot be made: {body!r}")
        if kind == b"Z":
            return
