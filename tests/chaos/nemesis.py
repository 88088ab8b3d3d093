"""Injects faults, one after the other, while a storm goes on."""

import collections
import json
import os
import time
import traceback


class Nemesis:
    """`faults` come in random order, each as often as the others."""

    def __init__(self, stage, faults, directory):
        self.stage = stage
        self.faults = list(faults)
        self.injected = collections.Counter()
        self.problems = []
        self.file = open(os.path.join(directory, "faults.jsonl"), "w", encoding="utf-8")

    def run(self, storm, reserve=1.5):
        """Until the storm has only `reserve` seconds left: clients are to see the end of each."""
        queue = []
        self.stage.pause(0.5, 1.0)
        while storm.remaining() > reserve and not self.problems:
            if not queue:
                queue = self.stage.random.sample(self.faults, len(self.faults))
            fault = queue.pop()
            self._inject(fault)
            self.stage.pause(0.2, 1.2)
        self.stage.mend()
        self.file.close()

    def _inject(self, fault):
        start = time.monotonic()
        problem = ""
        try:
            self.stage.check()
            fault.inject(self.stage)
            self.stage.mend()
        except Exception:  # whatever it is, it belongs into the report
            problem = traceback.format_exc()
            self.problems.append(f"{fault.name}: {problem}")
        self.injected[fault.name] += 1
        self.file.write(json.dumps(dict(fault=fault.name, start=start, end=time.monotonic(),
                                        problem=problem)) + "\n")
        self.file.flush()
