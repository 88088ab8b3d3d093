"""Ledger, faults and checker through a real dwspool; see run.sh."""

import argparse
import collections
import os
import random
import shutil
import sys
import tempfile

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [TESTS, os.path.join(TESTS, "support")]

import history  # noqa: E402
from faults import FAULTS  # noqa: E402
from nemesis import Nemesis  # noqa: E402
from stage import Stage  # noqa: E402
from storm import ALL_DRIVERS, LIBPQ, Storm  # noqa: E402


def arguments(args):
    parser = argparse.ArgumentParser(prog="tests/chaos/run.sh")
    parser.add_argument("--seconds", type=float, default=60, help="how long clients work")
    parser.add_argument("--faults", default="all",
                        help="all, none, or names with commas: " + ", ".join(FAULTS))
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--mode", default="auto", choices=["auto", "transaction", "session"])
    parser.add_argument("--replay", default="transaction",
                        choices=["off", "connect", "statement", "transaction", "token"])
    parser.add_argument("--workers", type=int, default=1, help="threads of dwspool")
    parser.add_argument("--seed", type=int, default=None,
                        help="for the choice of faults and operations")
    parser.add_argument("--statement-timeout", type=float, default=3, metavar="SECONDS")
    parser.add_argument("--keep", action="store_true", help="keep the logs in any case")
    options = parser.parse_args(args)
    names = {"all": list(FAULTS), "none": []}.get(options.faults, options.faults.split(","))
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}")
    options.chosen = [FAULTS[name] for name in names]
    if options.seed is None:
        options.seed = random.randrange(1_000_000)
    return options


def acts(options):
    """(name, faults, seconds): faults on servers and faults of coordinators need different stages,
    which share the time by the number of their faults."""
    groups = collections.defaultdict(list)
    for fault in options.chosen:
        groups["fake CN" if fault.fake_cn else "servers"].append(fault)
    if not groups:
        return [("servers", [], options.seconds)]
    return [(name, faults, max(5.0, options.seconds * len(faults) / len(options.chosen)))
            for name, faults in groups.items()]


def drivers():
    """Without the C++ client where it was not built."""
    built = os.environ.get("DWSPOOL_CHAOS_CLIENT")
    return ALL_DRIVERS if built else [name for name in ALL_DRIVERS if name != LIBPQ]


def play(faults, seconds, options, directory, stage_options):
    with Stage(directory, mode=options.mode, replay=options.replay, workers=options.workers, seed=options.seed,
               **stage_options) as stage:
        nemesis = Nemesis(stage, faults, directory)
        storm = Storm(stage.port, stage.server_port, directory, seconds, options.clients,
                      options.seed, drivers=drivers(),
                      statement_timeout_ms=int(options.statement_timeout * 1000))
        try:
            if faults:
                nemesis.run(storm)
            storm.server_port = stage.server_port
            return storm.finish(), nemesis
        finally:
            storm.stop(0)
            stage.tell_settled()


def report(name, result, nemesis):
    fates = result.fates()
    states = collections.Counter(
        operation.state or "(connection lost)" for operation in result.operations
        if operation.fate != history.OK and operation.state != "abandoned")
    unfinished = sum(1 for operation in result.operations if operation.end is None)
    print(f"== {name}")
    print(f"operations:  {len(result.operations)} ({fates['ok']} ok, {fates['failed']} failed, "
          f"{fates['unknown']} unknown)")
    print(f"unknown:     {result.unknown_done} took effect, {unfinished} had no end")
    print("faults:      " + (", ".join(f"{name} {count}" for name, count in
                                       sorted(nemesis.injected.items())) or "none"))
    print("errors:      " + (", ".join(f"{state} {count}" for state, count in
                                       states.most_common()) or "none"))
    print(f"longest outage seen by a client: {history.longest_outage(result.operations):.2f} s")
    print(f"longest operation: {history.longest_operation(result.operations):.2f} s")
    print(f"violations:  {len(result.violations)}")
    for violation in result.violations[:20]:
        print(f"  {violation}")
    for problem in nemesis.problems:
        print(f"  PROBLEM {problem}")


def main(args=None):
    options = arguments(args)
    print(f"seed {options.seed}, {options.clients} clients, mode {options.mode}, "
          f"replay {options.replay}, "
          f"{options.workers} workers of dwspool", flush=True)
    directory = tempfile.mkdtemp(prefix="dwspool-chaos-")
    good = True
    for name, faults, seconds in acts(options):
        act_directory = os.path.join(directory, name.replace(" ", "-"))
        os.mkdir(act_directory)
        stage_options = dict(standbys=max((fault.standbys for fault in faults), default=0),
                             fake_cn=any(fault.fake_cn for fault in faults))
        result, nemesis = play(faults, seconds, options, act_directory, stage_options)
        report(name, result, nemesis)
        good = good and not result.violations and not nemesis.problems
        good = good and result.fates()["ok"] > 0
    if good and not options.keep:
        shutil.rmtree(directory)
    else:
        print(f"logs: {directory}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
