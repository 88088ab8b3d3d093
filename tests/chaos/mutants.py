#!/usr/bin/python3
"""Switches off one safety of dwspool after the other, in a copy of its sources, and sees whether a
storm through the result is found to be wrong.

usage: tests/chaos/mutants.py [NAME ...]       the copy and its build are in build/mutants
"""

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPY = ROOT / "build" / "mutants"
MAIN = ROOT / "tests" / "chaos" / "main.py"


@dataclasses.dataclass(frozen=True)
class Mutant:
    """`old` is there exactly once in the file, and is replaced by `new`."""

    name: str
    file: str
    old: str
    new: str
    faults: str
    mode: str = "auto"


MUTANTS = [
    Mutant("never in doubt", "src/retry/outcome.cpp",
           "  return Outcome::in_doubt;\n}", "  return Outcome::open_transaction_lost;\n}",
           "relay_commit"),
    Mutant("does not note COMMIT", "src/session/client_messages.cpp",
           "    may_have_committed_ = true;\n", "    may_have_committed_ = false;\n",
           "relay_commit"),
    Mutant("forgets a lost transaction", "src/session/session.cpp",
           "transaction_goes_on = in_transaction && outcome != retry::Outcome::in_doubt;",
           "transaction_goes_on = false;", "terminate"),
    Mutant("lends a backend in a transaction", "src/session/session.cpp",
           "backend_->status == wire::TxStatus::idle && backend_->replies.quiet();\n}\n\n"
           "Next Session::release()",
           "backend_->replies.quiet();\n}\n\nNext Session::release()", "none"),
    Mutant("does not carry settings", "src/session/session.cpp",
           "if (!same(backend_->applied, wanted_)) return begin_sync(out);",
           "if (backend_ == nullptr) return begin_sync(out);", "none"),
    Mutant("does not clean up", "src/session/cleaner.cpp",
           "return backend.dirty || !backend.replies.quiet() || "
           "backend.status != wire::TxStatus::idle;",
           "return backend.dirty && backend.retire;", "client_frames"),
    Mutant("never sends BEGIN", "src/session/client_messages.cpp",
           "  if (deferred_begin_.empty()) return;\n  static constexpr",
           "  deferred_begin_.clear();\n  if (deferred_begin_.empty()) return;\n"
           "  static constexpr", "none"),
]


def run(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)


def copy():
    """The sources as they are, only those that have changed: what was built of them stays."""
    names = run("git", "ls-files", "CMakeLists.txt", "CMakePresets.json", "cmake", "include", "src",
                cwd=ROOT).stdout.split()
    for name in names:
        there = COPY / name
        text = (ROOT / name).read_bytes()
        if not there.is_file() or there.read_bytes() != text:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(text)


def build():
    for command in (["cmake", "--preset", "dev", "-DDWSPOOL_TESTS=OFF", "-DDWSPOOL_WERROR=OFF"],
                    ["cmake", "--build", "--preset", "dev", "--target", "dwspool"]):
        result = run(*command, cwd=COPY)
        if result.returncode != 0:
            raise RuntimeError(result.stdout[-4000:])


def storm(faults, mode):
    env = dict(os.environ, DWSPOOL_BINARY=str(COPY / "build" / "dev" / "dwspool"))
    return run(sys.executable, str(MAIN), "--seconds", "8", "--clients", "8", "--mode", mode,
               "--statement-timeout", "1", "--faults", faults, env=env)


def check(mutant):
    """Whether it was found out."""
    path = COPY / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        print(f"{mutant.name}: {mutant.file} has changed")
        return False
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        build()
        result = storm(mutant.faults, mutant.mode)
    finally:
        path.write_text(text, encoding="utf-8")
    kinds = sorted(set(re.findall(r"^  (\w+): ", result.stdout, re.M)))
    count = sum(int(number) for number in re.findall(r"violations: +(\d+)", result.stdout))
    print(f"{mutant.name}: {count} violations ({', '.join(kinds) or 'none'})", flush=True)
    logs = re.search(r"^logs: (.*)$", result.stdout, re.M)
    if count:
        shutil.rmtree(logs[1])
    else:
        print(result.stdout)
    return count > 0


def main(names):
    copy()
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    missed = [mutant.name for mutant in chosen if not check(mutant)]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} found out")
    return 1 if missed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
