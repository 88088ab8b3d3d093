"""Client programs (psql, pgbench, node, java) run against a dwspool."""

import os
import shutil
import subprocess


def environment(proxy=None, **variables):
    """This process's environment without anything that libpq would take from it."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    env["LC_ALL"] = "C.UTF-8"
    if proxy is not None:
        env.update(PGHOST="127.0.0.1", PGPORT=str(proxy.port), PGUSER="postgres",
                   PGDATABASE="postgres")
    env.update(variables)
    return env


def run(command, proxy=None, timeout=60, check=True, stdin=None, **variables):
    """Runs it to its end; the result has stdout, stderr and returncode."""
    result = subprocess.run(command, env=environment(proxy, **variables), timeout=timeout,
                            input=stdin, capture_output=True, text=True, check=False)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {result.returncode}:\n"
                             f"{result.stdout[-4000:]}\n{result.stderr[-4000:]}")
    return result


def start(command, proxy=None, **variables):
    """Starts it, with pipes."""
    return subprocess.Popen(command, env=environment(proxy, **variables), stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def login_programs(tmp_path):
    """What logs in by node-postgres and by pgjdbc, as far as these are there: each a command, to
    which a port and attempts are added, and its environment."""
    here = os.path.join(os.path.dirname(__file__), "..", "..", "integration", "drivers")
    modules = os.environ.get("DWSPOOL_NODE_MODULES", "")
    if shutil.which("node") and os.path.isdir(os.path.join(modules, "pg")):
        yield ["node", os.path.join(here, "login.js")], {"NODE_PATH": modules}
    jar = "/usr/share/java/postgresql.jar"
    if shutil.which("javac") and os.path.exists(jar):
        run(["javac", "-J-XX:TieredStopAtLevel=1", "-cp", jar, "-d", str(tmp_path),
             os.path.join(here, "Login.java")])
        yield ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{jar}:{tmp_path}", "Login"], {}
