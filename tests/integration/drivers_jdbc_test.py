"""pgjdbc through dwspool, run from source (drivers/Jdbc.java)."""

import os
import shutil

import pytest
from dwspool_testing.programs import run

SOURCE = os.path.join(os.path.dirname(__file__), "drivers", "Jdbc.java")
JAR = "/usr/share/java/postgresql.jar"  # Debian: libpostgresql-jdbc-java


@pytest.fixture
def java(tmp_path_factory):
    """The command that runs the program; it is compiled once."""
    if shutil.which("java") is None or shutil.which("javac") is None:
        pytest.skip("there is no java compiler")
    if not os.path.exists(JAR):
        pytest.skip(f"{JAR} is not there (libpostgresql-jdbc-java)")
    classes = os.path.join(tmp_path_factory.getbasetemp(), "jdbc")
    if not os.path.exists(classes):
        run(["javac", "-J-XX:TieredStopAtLevel=1", "-encoding", "UTF-8", "-cp", JAR, "-d", classes,
             SOURCE])
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto",
            "-Dfile.encoding=UTF-8", "-cp", f"{JAR}:{classes}", "Jdbc"]


def check(command, count):
    result = run(command)
    assert "FAILED" not in result.stdout, result.stdout[-6000:]
    assert result.stdout.count("ok ") == count, result.stdout[-6000:] + result.stderr[-2000:]


def test_pgjdbc(java, trusting, mode):
    """It prepares some 300 statements, and makes errors among them."""
    proxy = trusting(mode, shutdown_timeout="3s")
    check(java + [str(proxy.port), mode], 14)


@pytest.mark.parametrize("mode", ["transaction", "auto"])
def test_pgjdbc_clients_share_one_backend(java, trusting, mode):
    proxy = trusting(mode, defaults={"pool_size": 1, "queue_timeout": "1s"}, shutdown_timeout="1s")
    check(java + [str(proxy.port), mode, "clients"], 1)
    assert proxy.metric("dwspool_session_pins_total") == 0
