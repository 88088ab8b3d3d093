"""The fake coordinator's log-in holds to the vectors, and asks and refuses as DWS would."""

import json
import os

import psycopg2
import pytest
from dwspool_testing.gauss import V30, V350, V351, GaussConnection
from dwspool_testing.proxy import wait_until
from dwspool_testing.wire import fields
from fake_cn import COMBINED, LEGACY, MD5, SHA256, SM3, Role, verifiers
from fake_cn.frames import message
from fake_cn.login import challenge_for

DATA = os.path.join(os.path.dirname(__file__), "..", "data")
ANY = Role("any", kind="trust", pg_user="postgres")


def vectors(name, kind):
    with open(os.path.join(DATA, name), encoding="utf-8") as file:
        return json.load(file).get(kind, [])


def everything(kind):
    return (vectors("gaussdb-auth-vectors.json", kind) + vectors("gauss-extra-vectors.json", kind))


def connect(cn, user="any", password=None, autocommit=False, **options):
    connection = psycopg2.connect(host="127.0.0.1", port=cn.port, user=user, password=password,
                                  dbname="postgres", **options)
    connection.autocommit = autocommit
    return connection


def run(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


# --- Vectors -------------------------------------------------------------------------------------

@pytest.mark.parametrize("vector", everything("sha256"), ids=lambda vector: vector["name"])
def test_sha256_vectors(vector):
    keys = verifiers.derive(bytes.fromhex(vector.get("password_utf8_hex", "")) or
                            vector["password"].encode(), vector["random64code"],
                            vector["iterations"])
    assert keys.server_key.hex() == vector["server_key"]
    assert keys.stored_key.hex() == vector["stored_key"]
    assert keys.signature(vector["token"]) == vector["server_signature"]
    role = Role("r", vector["password"], iterations=vector["iterations"],
                salt=vector["random64code"])
    if "stored_rolpassword_sha256" in vector:
        assert role.rolpassword == vector["stored_rolpassword_sha256"]
        assert verifiers.read_stored(role.rolpassword) == (SHA256, keys, None)
    answer = vector["client_response"].encode()
    assert keys.accepts(answer, vector["token"])
    assert bytes.fromhex(vector["client_message_hex"]) == message(b"p", answer + b"\0")
    wrong = answer[:-1] + (b"0" if answer[-1:] != b"0" else b"1")
    for other in (wrong, answer.upper() if answer.upper() != answer else b"", answer[:-1],
                  answer + b"0", b""):
        assert not keys.accepts(other, vector["token"])
    for minor, name in ((0, "auth_request_30_hex"), (50, "auth_request_350_hex"),
                        (51, "auth_request_351_hex")):
        asked = challenge_for(role, "r", "sha256", minor, vector["token"],
                              b"salt")
        assert asked.check(answer)
        if name in vector:
            assert asked.request().hex() == vector[name]


@pytest.mark.parametrize("vector", everything("md5"), ids=lambda vector: vector["user"])
def test_md5_vectors(vector):
    role = Role(vector["user"], vector["password"], MD5)
    if "stored_md5" in vector:
        assert role.rolpassword == vector["stored_md5"]
    asked = challenge_for(role, role.name, "sha256", 51, "00000000", bytes.fromhex(vector["salt"]))
    assert asked.code == 5
    assert asked.check(vector["client_response"].encode())
    assert not asked.check(vector["client_response"][:-1].encode() + b"x")
    if "stored_combined_rolpassword" in vector:
        both = Role(vector["user"], vector["password"], COMBINED,
                    salt=vector["stored_combined_salt"])
        assert both.rolpassword == vector["stored_combined_rolpassword"]
        assert verifiers.read_stored(both.rolpassword) == (COMBINED, both.keys, role.md5)


@pytest.mark.parametrize("vector", everything("sha256_md5stored"), ids=lambda one: one["user"])
def test_legacy_vectors(vector):
    role = Role(vector["user"], vector["password"], LEGACY)
    asked = challenge_for(role, role.name, "sha256", 51, "00000000", bytes.fromhex(vector["salt"]))
    assert (asked.code, asked.payload[:4]) == (10, b"\0\0\0\1")
    assert asked.check(vector["client_response"].encode())


@pytest.mark.parametrize("vector", everything("md5_sha256"), ids=lambda one: one["md5_salt"])
def test_md5_sha256_vectors(vector):
    """Code 11: what drivers answer is never what the server wants."""
    for iterations in (2048, 10000):
        role = Role("r", vector["password"], iterations=iterations, salt=vector["random64code"])
        asked = challenge_for(role, "r", "md5", 51, "0", bytes.fromhex(vector["md5_salt"]))
        assert asked.code == 11
        assert asked.payload == (vector["random64code"].encode() +
                                 bytes.fromhex(vector["md5_salt"]))
        assert asked.check(vector[f"opengauss_server_expected_iter{iterations}"].encode())
        assert not asked.check(vector[f"client_response_iter{iterations}"].encode())


@pytest.mark.parametrize("vector", everything("sm3"), ids=lambda vector: vector["name"])
def test_sm3_vectors(vector):
    keys = verifiers.derive(vector["password"].encode(), vector["random64code"],
                            vector["iterations"], "sm3")
    assert keys.server_key.hex() == vector["server_key"]
    assert keys.stored_key.hex() == vector["stored_key"]
    assert keys.signature(vector["token"]) == vector["server_signature"]
    assert keys.accepts(vector["client_response"].encode(), vector["token"], "sm3")
    assert not keys.accepts(vector["client_response"].encode(), vector["token"])


def test_hidden_iterations():
    for number, suffix in ((10000, "ecdfecefade"), (2048, "mgdhdcefade"), (50000, "ecdficefade")):
        assert verifiers.iteration_suffix(number) == suffix
        assert verifiers.read_iterations(suffix) == number


# --- Log-in --------------------------------------------------------------------------------------

ROLES = [Role("s", "secret", pg_user="postgres"), Role("c", "secret", COMBINED, pg_user="postgres"),
         Role("m", "secret", MD5, pg_user="postgres"), Role("x", "secret", SM3),
         Role("none")]


@pytest.mark.parametrize("hba, version, codes", [
    ("sha256", V30, {"s": 10, "c": 5, "m": 5, "x": 13, "nobody": 5}),
    ("sha256", V350, {"s": 10, "c": 10, "m": 5, "x": 13, "nobody": 10}),
    ("sha256", V351, {"s": 10, "c": 10, "m": 5, "x": 13, "nobody": 10}),
    ("md5", V30, {"s": 11, "c": 5, "m": 5, "x": 13, "nobody": 5}),
    ("md5", V351, {"s": 11, "c": 5, "m": 5, "x": 13, "nobody": 11}),
    ("sm3", V351, {"s": 13, "c": 13, "m": 13, "x": 13, "nobody": 13}),
    ("trust", V351, {"s": 0, "c": 0, "m": 0, "nobody": 0}),
])
def test_who_is_asked_what(fake, hba, version, codes):
    cn = fake(*ROLES, hba=hba)
    for user, code in codes.items():
        with GaussConnection("127.0.0.1", cn.port) as client:
            kind, _ = client.knock(user, version)
            assert kind == b"R"
            assert client.request[0] == code, user
            size = {V30: 140, V350: 76, V351: 80}[version]
            if code in (10, 13):
                assert len(client.request[1]) == size


@pytest.mark.parametrize("user, version", [("s", V30), ("s", V350), ("s", V351), ("c", V30),
                                           ("c", V350), ("c", V351), ("m", V351)])
def test_right_and_wrong_passwords(fake, user, version):
    cn = fake(Role(user, "secret", {"s": SHA256, "c": COMBINED, "m": MD5}[user],
                   pg_user="postgres"))
    with GaussConnection("127.0.0.1", cn.port) as client:
        seen = client.enter(user, "secret", version, iterations=10000)
        assert [kind for kind, _ in seen if kind not in b"SN"] == [b"R", b"K", b"Z"]
        assert client.parameters["server_version"] == "9.2.4"
        assert client.parameters["is_sysadmin"] == "on"
        assert not {"is_superuser", "in_hot_standby", "default_transaction_read_only"} \
            & set(client.parameters)
        assert client.pid < 800
        assert client.ask("select 1")[1] == (b"D", b"\0\1\0\0\0\1" + b"1")
    with GaussConnection("127.0.0.1", cn.port) as client:
        seen = client.enter(user, "wrong", version, iterations=10000)
        error = fields(seen[-1][1])
        assert (error["S"], error["C"]) == ("ERROR", "28P01")
        assert error["M"] == "Invalid username/password,login denied."
        assert error["d"] == "SECURITY" and error["c"].isdigit() and "V" not in error
    assert (cn.role(user).attempts, cn.role(user).wrong) == (2, 1)


def test_nobody_looks_like_somebody(fake):
    cn = fake(*ROLES)
    salts = set()
    for _ in range(2):
        with GaussConnection("127.0.0.1", cn.port) as client:
            client.knock("nobody")
            salts.add(client.request[1][4:68])
            client.send(message(b"p", client.answer_for("secret") + b"\0"))
            assert fields(client.receive()[1])["C"] == "28P01"
    assert len(salts) == 1
    with GaussConnection("127.0.0.1", cn.port) as client:
        kind, body = client.knock("none")
        assert kind == b"E" and fields(body)["C"] == "28000"


def test_account_is_locked_after_ten(fake):
    cn = fake(Role("s", "secret", iterations=2048, pg_user="postgres"))

    def code(password):
        with GaussConnection("127.0.0.1", cn.port) as client:
            kind, body = client.enter("s", password)[-1]
            return fields(body)["C"] if kind == b"E" else kind

    assert [code("wrong") for _ in range(9)] == ["28P01"] * 9
    assert code("secret") == b"Z"  # begins anew
    assert [code("wrong") for _ in range(10)] == ["28P01"] * 10
    assert code("secret") == "28000"
    assert cn.role("s").locked
    cn.unlock("s")
    assert code("secret") == b"Z"
    with GaussConnection("127.0.0.1", cn.port) as client:
        client.knock("s")  # and leaves
    assert cn.role("s").failures == 0


def test_expired_password(fake):
    cn = fake(Role("s", "secret", MD5, pg_user="postgres", expired=True))
    connection = connect(cn, "s", "secret", autocommit=True)
    with pytest.raises(psycopg2.Error) as caught:
        run(connection, "select 1")
    assert caught.value.pgcode == "28P02"
    assert 'ALTER ROLE "s" PASSWORD' in str(caught.value)


def test_startup_refusals(fake):
    cn = fake(ANY, startup_severity="FATAL", max_connections=1)

    def refused(version=V351, **parameters):
        with GaussConnection("127.0.0.1", cn.port) as client:
            error = fields(client.enter("any", version=version, **parameters)[-1][1])
            return error["S"], error["C"], error["M"]

    assert refused(version=196609)[1:] == ("0A000", "unsupported frontend protocol 3.1: "
                                           "server supports 1.0 to 3.51")
    assert refused(application_name="gs_clean")[1] == "28000"
    assert refused(database="not there")[:2] == ("FATAL", "3D000")
    wait_until(lambda: not cn.sessions, what="no session left")
    with GaussConnection("127.0.0.1", cn.port) as first:
        assert first.enter("any")[-1][0] == b"Z"
        assert refused()[1] == "53300"
    cn.refuse_logins()
    assert refused()[1:] == ("57P03", "the database system is starting up")


def test_tls(fake):
    cn = fake(Role("m", "secret", MD5, pg_user="postgres"), tls=True)
    with connect(cn, "m", "secret", sslmode="require") as connection:
        assert run(connection, "select 1") == [(1,)]
    assert cn.counts["tls"] == 1
    without = fake(Role("m", "secret", MD5, pg_user="postgres"))
    with pytest.raises(psycopg2.OperationalError, match="server does not support SSL"):
        connect(without, "m", "secret", sslmode="require")
    strict = fake(ANY, tls=True, require_ssl=True)
    with pytest.raises(psycopg2.OperationalError, match="SSL connection is required"):
        connect(strict, sslmode="disable")
