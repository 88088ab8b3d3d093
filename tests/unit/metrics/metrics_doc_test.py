#!/usr/bin/env python3
"""doc/metrics.md lists the metrics that are rendered, with their types and labels, and no others.

usage: metrics_doc_test.py UNIT_TEST_BINARY
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

DOC = pathlib.Path(__file__).resolve().parents[3] / "doc" / "metrics.md"
ROW = re.compile(r"^\| `(dwspool_\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \| ([^|]+) \|$")
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$")
LABEL = re.compile(r'(\w+)="(?:[^"\\]|\\.)*"')


def rendered(binary):
    """{name: (type, labels)} of what the unit tests render."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "exposition"
        subprocess.run([binary, "--test-case=*DWSPOOL_EXPOSITION_FILE*"], check=True,
                       stdout=subprocess.DEVNULL,
                       env={**os.environ, "DWSPOOL_EXPOSITION_FILE": str(file)})
        lines = file.read_text(encoding="utf-8").split("\n")
    metrics = {}
    name = None
    for line in lines:
        if line.startswith("# TYPE "):
            name, kind = line.split(" ")[2:]
            metrics[name] = (kind, set())
        elif line and not line.startswith("#"):
            metrics[name][1].update(LABEL.findall(SAMPLE.match(line).group(2) or ""))
    return {name: (kind, frozenset(labels - {"le"})) for name, (kind, labels) in metrics.items()}


def documented():
    """The same, as the tables of the document say it; and what is wrong with them."""
    metrics = {}
    complaints = []
    for line in DOC.read_text(encoding="utf-8").split("\n"):
        if not line.startswith("| `dwspool_"):
            continue
        row = ROW.match(line)
        if row is None:
            complaints.append(f"a row that is none: {line}")
            continue
        name, kind, labels = row.groups()[:3]
        if name in metrics:
            complaints.append(f"{name} has two rows")
        metrics[name] = (kind, frozenset(re.findall(r"`(\w+)`", labels)))
    return metrics, complaints


def main():
    seen = rendered(sys.argv[1])
    told, complaints = documented()
    complaints += [f"{name} is rendered and not documented" for name in sorted(seen.keys() - told)]
    complaints += [f"{name} is documented and not rendered" for name in sorted(told.keys() - seen)]
    for name in sorted(seen.keys() & told):
        if seen[name] != told[name]:
            complaints.append(f"{name} is {seen[name]}, documented as {told[name]}")
    if not seen:
        complaints.append("nothing was rendered")
    for complaint in complaints:
        print(f"{DOC.name}: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
