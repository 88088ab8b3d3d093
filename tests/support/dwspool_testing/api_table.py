"""The vendor's table of what psycopg2 can do on GaussDB(DWS), row by row: which rows there are,
which of them the vendor says work, and which test is whose."""

import collections

CONNECTION = """
    Y cursor  Y commit  Y rollback  Y close
    Y xid  Y tpc_begin  N tpc_prepare  Y tpc_commit  Y tpc_rollback  Y tpc_recover
    Y closed  Y cancel  N reset  Y dsn
    Y set_session  Y autocommit  Y isolation_level  N readonly  Y deferrable  Y set_isolation_level
    Y encoding  Y set_client_encoding  N notices  Y notifies  Y cursor_factory  Y info  Y status
    N lobject  Y poll  Y fileno  Y isexecuting  Y pgconn_ptr  Y get_native_connection
    Y get_transaction_status  Y protocol_version  Y server_version  Y get_backend_pid
    Y get_parameter_status  Y get_dsn_parameters
"""
CURSOR = """
    Y description  Y close  Y closed  Y connection  Y name  N scrollable  N withhold
    Y execute  Y executemany  Y callproc  Y mogrify  Y setinputsizes
    Y fetchone  Y fetchmany  Y fetchall  N scroll  Y arraysize  Y itersize
    Y rowcount  Y rownumber  Y lastrowid  Y query  Y statusmessage
    Y cast  Y tzinfo_factory  Y nextset  Y setoutputsize
    Y copy_from  Y copy_to  Y copy_expert  Y pgresult_ptr
"""


def read(text):
    """{row: whether the vendor says that it works}, in the table's order."""
    words = text.split()
    return {row: says == "Y" for says, row in zip(words[::2], words[1::2])}


TABLE = {"connection": read(CONNECTION), "cursor": read(CURSOR)}
TESTS = {kind: collections.defaultdict(list) for kind in TABLE}


def row(kind, *names):
    """Decorates the test of these rows."""
    def mark(test):
        for name in names:
            if name not in TABLE[kind]:
                raise ValueError(f"the table has no {kind}.{name}")
            TESTS[kind][name].append(test.__name__)
        return test

    return mark


def untested(kind):
    return [name for name in TABLE[kind] if not TESTS[kind][name]]


def summary(kind):
    rows = TABLE[kind]
    works = sum(rows.values())
    tests = {test for names in TESTS[kind].values() for test in names}
    return (f"{kind}: {len(rows)} rows ({works} Y, {len(rows) - works} N), "
            f"{len(tests)} tests in each of 4 places")
