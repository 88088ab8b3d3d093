#!/usr/bin/env python3
"""The documents keep up with the code: every log event is explained and every explanation has its
event; every module is in the architecture page; nothing ties the project to a machine."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
EVENT = re.compile(r'"((?:backend|cancel|client|http|listener|pool|process)\.[a-z_]+)"')


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def check_events():
    used = set()
    for path in list(ROOT.glob("src/proxy/*.cpp")) + list(ROOT.glob("src/app/*.cpp")):
        used |= set(EVENT.findall(path.read_text(encoding="utf-8")))
    explained = set(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", read("doc/events.md"), re.M))
    return ([f"doc/events.md does not explain {event}" for event in sorted(used - explained)]
            + [f"doc/events.md explains {event}, which nobody writes"
               for event in sorted(explained - used)])


def check_modules():
    page = read("doc/architecture.md")
    modules = sorted(path.name for path in (ROOT / "src").iterdir() if path.is_dir())
    return [f"doc/architecture.md does not name the module {name}" for name in modules
            if f"`{name}`" not in page]


def check_errors():
    """Every SQLSTATE that dwspool raises itself is in the error contract."""
    page = read("doc/errors.md")
    declared = dict(re.findall(r'string_view (\w+) = "(\w{5})"', read("include/dwspool/wire/sqlstate.h")))
    code = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("src/*/*.cpp"))
    raised = {declared[name] for name in re.findall(r"sqlstate = wire::sqlstate::(\w+)", code)}
    return [f"doc/errors.md does not explain {state}" for state in sorted(raised) if f"`{state}`" not in page]


def check_machine_paths():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                           check=False).stdout.split()
    problems = []
    for name in files:
        path = ROOT / name
        if not path.is_file() or name == "tests/lint/docs.py":
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for bad in ("../shared", "/work/", "/root/"):
            if bad in text:
                problems.append(f"{name} mentions {bad}")
    return problems


def check_readme():
    page = read("README.md")
    first_screen = "\n".join(page.splitlines()[:40])
    return [f"README.md does not show {command} on its first screen"
            for command in ("./deploy/demo.sh", "./tests/run.sh") if command not in first_screen]


def main():
    problems = (check_events() + check_modules() + check_errors() + check_machine_paths()
                + check_readme())
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
