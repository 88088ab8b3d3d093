#!/usr/bin/env python3
"""The documents keep up with the code: every log event is explained and every explanation has its
event; every module is in the architecture page; what is referred to is there; nothing ties the project
to a machine."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = {".cpp", ".h", ".py", ".sh", ".md", ".txt", ".yaml"}
EVENTS = ("backend", "cancel", "client", "cluster", "config", "console", "http", "listener", "pool",
          "process", "replay", "tls")
EVENT = re.compile(rf'"((?:{"|".join(EVENTS)})\.[a-z_]+)"')


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


def tracked_files():
    return subprocess.run(["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                          check=False).stdout.split()


def anchors(page):
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_references():
    """Pages and headings that comments and pages refer to are there, and so are the source files
    and functions that pages name."""
    problems = []
    code = {}
    for name in tracked_files():
        path = ROOT / name
        if path.suffix not in SOURCES or not path.is_file() or name == "tests/lint/docs.py":
            continue
        text = path.read_text(encoding="utf-8")
        problems += [f"{name} refers to {page}, which does not exist"
                     for page in sorted(set(re.findall(r"\bdoc/[\w-]+\.md\b", text)))
                     if not (ROOT / page).is_file()]
        if path.suffix != ".md":
            code[name] = text
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            page, _, heading = target.partition("#")
            there = path.parent / page if page else path
            if "://" in target:
                continue
            if not there.exists():
                problems.append(f"{name} links to {target}, which does not exist")
            elif heading and heading not in anchors(there.read_text(encoding="utf-8")):
                problems.append(f"{name} links to {target}: there is no such heading")
    everything = "\n".join(code.values())
    for path in sorted(ROOT.glob("doc/*.md")):
        page = path.read_text(encoding="utf-8")
        for named in sorted(set(re.findall(r"`((?:[\w-]+/)*\w+\.(?:cpp|h))`", page))):
            if not any(("/" + name).endswith("/" + named) for name in code):
                problems.append(f"doc/{path.name} names {named}, which does not exist")
        for scope, member in sorted(set(re.findall(r"`(?:\w+::)*?(\w+)::(\w+)`", page))):
            if not (re.search(rf"\b{scope}\b", everything)
                    and re.search(rf"\b{member}\b", everything)):
                problems.append(f"doc/{path.name} names {scope}::{member}, which does not exist")
    return problems


def check_machine_paths():
    files = tracked_files()
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


def check_troubleshooting():
    """Messages of dwspool's own are explained by the words that it really uses."""
    own = read("doc/troubleshooting.md").split("## What dwspool says to applications", 1)[1].split("\n## ")[0]
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("src/*/*.cpp")))
    code = re.sub(r'"\s*"', "", code.replace('\\"', "\0")).replace("\0", '"')
    problems = []
    explained = re.findall(r"^### `(.*)`$", own, re.M)
    for text in explained:
        pieces = [piece for piece in text.split("…") if len(piece) > 2]
        problems += [f"doc/troubleshooting.md explains '{text}', and nobody says '{piece}'"
                     for piece in pieces if piece not in code]
    return problems if explained else ["doc/troubleshooting.md explains nothing"]


def check_readme():
    page = read("README.md")
    first_screen = "\n".join(page.splitlines()[:40])
    return [f"README.md does not show {command} on its first screen"
            for command in ("./deploy/demo.sh", "./tests/run.sh") if command not in first_screen]


def main():
    problems = (check_events() + check_modules() + check_errors() + check_references()
                + check_machine_paths() + check_troubleshooting() + check_readme())
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
