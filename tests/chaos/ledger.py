"""The tables of the ledger: made, filled and read straight on the server."""

import time

import psycopg2

from checker import Tables

ACCOUNTS = 20
COUNTERS = 8
LISTS = 4  # that are in use at a time
LIST_SECONDS = 5.0  # then others are: a list is read as a whole

# No unique index anywhere: nothing but the proxy keeps a write from happening twice. What is
# `refused` fails at COMMIT, not before.
SCHEMA = """
create table ledger_rows(id bigint, client int, refused boolean not null default false);
create index on ledger_rows(client, id);
create table ledger_transfers(id bigint, source int, target int, amount bigint);
create table ledger_accounts(id int, balance bigint);
create table ledger_lists(id int, items text);
create table ledger_counters(id int, value bigint);
create function ledger_refuse() returns trigger language plpgsql as $$
begin raise check_violation using message = 'refused at COMMIT'; end $$;
create constraint trigger refuse after insert on ledger_rows deferrable initially deferred
  for each row when (new.refused) execute function ledger_refuse();
insert into ledger_accounts select n, {balance} from generate_series(1, {accounts}) n;
insert into ledger_counters select n, 0 from generate_series(1, {counters}) n;
insert into ledger_lists select n, '' from generate_series(0, {lists}) n;
create index on ledger_lists(id);
create role ledger login;
grant all on all tables in schema public to ledger;
"""


def list_count(seconds):
    return LISTS * (int(seconds / LIST_SECONDS) + 2)


def parse_list(items):
    """The items of a list, which are stored as text, each behind a blank."""
    return [int(item) for item in items.split()]


def connect(port):
    connection = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres",
                                  connect_timeout=10)
    connection.autocommit = True
    return connection


def create(port, seconds):
    connection = connect(port)
    try:
        connection.cursor().execute(SCHEMA.format(
            balance=Tables().initial_balance, accounts=ACCOUNTS, counters=COUNTERS,
            lists=list_count(seconds)))
    finally:
        connection.close()


def read_tables(port):
    """What is there, of one moment."""
    connection = connect(port)
    cursor = connection.cursor()

    def rows(sql):
        cursor.execute(sql)
        return cursor.fetchall()

    try:
        cursor.execute("begin isolation level repeatable read")
        return Tables(
            rows=[identity for identity, in rows("select id from ledger_rows")],
            transfers=rows("select id, source, target, amount from ledger_transfers"),
            balances=dict(rows("select id, balance from ledger_accounts")),
            lists={number: parse_list(items) for number, items in
                   rows("select id, items from ledger_lists")},
            counters=dict(rows("select id, value from ledger_counters")),
        )
    finally:
        connection.close()


def wait_quiet(port, seconds):
    """Until nobody has run or had open anything for this long. Whatever was left behind by a
    connection that was lost has then had its time to happen."""
    quiet_since = time.monotonic()
    deadline = quiet_since + 30 + seconds
    while time.monotonic() - quiet_since < seconds:
        connection = connect(port)
        try:
            cursor = connection.cursor()
            cursor.execute("select count(*) from pg_stat_activity where usename = 'ledger' "
                           "and state <> 'idle'")
            if cursor.fetchone()[0]:
                quiet_since = time.monotonic()
        finally:
            connection.close()
        if time.monotonic() > deadline:
            raise RuntimeError("transactions of the ledger do not end")
        time.sleep(0.2)
