"""A real browser without a window: Chromium, spoken to by its debugging protocol over a pipe."""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time


class Browser:
    """One page. What the browser has to say about it (errors, refusals) gathers in `complaints`."""

    def __init__(self, url, width=1200, height=900):
        self.complaints = []
        self.dir = tempfile.mkdtemp(prefix="dwspool-browser-")
        self.number = 0
        self.session = None
        self.pending = b""
        theirs_in, self.write_fd = os.pipe()
        self.read_fd, theirs_out = os.pipe()

        def fds_3_and_4():
            # dup2 of a descriptor to itself would leave it closed on exec: out of the way first.
            first, second = os.dup(theirs_in), os.dup(theirs_out)
            high_in, high_out = os.dup2(first, 101), os.dup2(second, 102)
            os.dup2(high_in, 3)
            os.dup2(high_out, 4)

        self.process = subprocess.Popen(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--disable-background-networking", "--no-first-run", "--remote-debugging-pipe",
             f"--window-size={width},{height}", f"--user-data-dir={self.dir}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False,
            preexec_fn=fds_3_and_4, env=dict(os.environ, HOME=self.dir))
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log"):
                self.call(f"{domain}.enable")
            self.call("Page.navigate", url=url)
        except Exception:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for descriptor in (self.write_fd, self.read_fd):
            os.close(descriptor)
        try:
            self.process.wait(10)  # it ends with its pipe
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_fd, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.note(answer)

    def receive(self, deadline):
        while b"\0" not in self.pending:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.read_fd], [], [], left)[0], "the browser is silent"
            piece = os.read(self.read_fd, 1 << 20)
            assert piece, "the browser has ended"
            self.pending += piece
        message, _, self.pending = self.pending.partition(b"\0")
        return json.loads(message)

    def note(self, event):
        params = event.get("params", {})
        if event.get("method") == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:500])
        elif event.get("method") == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(params["args"])[:500])

    def evaluate(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression, timeout=20.0):
        deadline = time.monotonic() + timeout
        while True:
            value = self.evaluate(expression)
            if value:
                return value
            assert time.monotonic() < deadline, f"{expression} did not come true; {self.complaints}"
            time.sleep(0.1)

    def table(self, selector):
        """Rows as lists of what is to be read in their cells, headings first."""
        return self.evaluate(
            f"[...document.querySelectorAll({json.dumps(selector + ' tr')})]"
            ".map(row => [...row.cells].map(cell => cell.textContent))")
