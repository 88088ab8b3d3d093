"""Commands for a running fake coordinator, one a line: `name key=value ...`.

Each is answered by one line of JSON, {"ok": ...} or {"error": ...}. The names are the methods of
FakeCn that tests use; `help` lists them.
"""

import asyncio
import inspect
import json
import shlex

COMMANDS = ("switchover", "fail_next", "heal", "set_read_only", "refuse_logins", "freeze", "thaw",
            "kill_sessions", "die", "revive", "unlock", "set_session_timeout", "status", "said")
# What is text even if it looks like a number, as SQLSTATEs do.
TEXTS = ("code", "text", "match", "pattern", "user", "name")


def value(text):
    """A number or a truth where it looks like one."""
    if text in ("on", "true", "off", "false"):
        return text in ("on", "true")
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def run(cn, line):
    """What the line says is done; the answer as text."""
    try:
        name, *rest = shlex.split(line) or ["help"]
        if name == "help":
            return json.dumps({"ok": {each: str(inspect.signature(getattr(cn, each)))
                                      for each in COMMANDS}})
        if name not in COMMANDS:
            raise ValueError(f"no such command: {name}")
        values = dict(part.split("=", 1) for part in rest)
        result = getattr(cn, name)(**{key: text if key in TEXTS else value(text)
                                      for key, text in values.items()})
        return json.dumps({"ok": result if isinstance(result, (dict, list, int)) else True})
    except (ValueError, TypeError, KeyError) as problem:
        return json.dumps({"error": str(problem)})


async def listen(cn, path):
    async def serve(reader, writer):
        try:
            while line := await reader.readline():
                # In a thread, since the methods wait for this loop.
                answer = await asyncio.to_thread(run, cn, line.decode())
                writer.write(answer.encode() + b"\n")
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    return await asyncio.start_unix_server(serve, path)
