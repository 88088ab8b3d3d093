"""psycopg2 through dwspool: the main job."""

import psycopg2
import pytest
from dwspool_testing.wire import Connection


def test_psycopg2_connects_and_queries(trusting, mode):
    proxy = trusting(mode)
    connection = psycopg2.connect(proxy.dsn())
    with connection, connection.cursor() as cursor:
        cursor.execute("create table if not exists first_light(id int)")
        cursor.execute("insert into first_light values (1), (2)")
        cursor.execute("select count(*) from first_light")
        assert cursor.fetchone() == (2,)
    with connection, connection.cursor() as cursor:
        cursor.execute("drop table first_light")
    connection.close()


def test_server_parameters_are_the_servers_own(trusting, mode, pg):
    proxy = trusting(mode)
    with Connection("127.0.0.1", pg.port) as direct, Connection("127.0.0.1", proxy.port) as through:
        direct.log_in(application_name="x", client_encoding="LATIN1", DateStyle="german")
        through.log_in(application_name="x", client_encoding="LATIN1", DateStyle="german")
        assert direct.parameters == through.parameters
        assert list(direct.parameters) == list(through.parameters)


def test_transaction_pooling_shares_one_backend(trusting):
    proxy = trusting("transaction", defaults={"pool_size": 1})
    clients = [psycopg2.connect(proxy.dsn()) for _ in range(5)]
    pids = set()
    for client in clients:
        with client, client.cursor() as cursor:
            cursor.execute("select pg_backend_pid()")
            pids.add(cursor.fetchone()[0])
    assert len(pids) == 1
    for client in clients:
        client.close()


def test_bad_statement_leaves_the_session_usable(trusting, mode):
    proxy = trusting(mode)
    connection = psycopg2.connect(proxy.dsn())
    with pytest.raises(psycopg2.errors.UndefinedTable):
        with connection, connection.cursor() as cursor:
            cursor.execute("select * from no_such_table")
    with connection, connection.cursor() as cursor:
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
    connection.close()
