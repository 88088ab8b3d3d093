"""What a statement is, as far as the fake coordinator has to know.

Enough to tell what DWS refuses, what would need a data node, and what has to be written otherwise
for PostgreSQL. Texts are decoded as Latin-1, so that places in them are places in the bytes.
"""

import dataclasses
import functools
import re

TOKEN = re.compile(r"""
  (?P<space>\s+|--[^\n]*)
 |(?P<comment>/\*)
 |(?P<dollar>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$)
 |(?P<string>[eE]'(?:[^'\\]|\\.|'')*'|(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*')
 |(?P<quoted>(?:[uU]&)?"(?:[^"]|"")*")
 |(?P<word>[A-Za-z_\x80-\xff][\w$\x80-\xff]*)
 |(?P<number>\d[\w.]*)
 |(?P<param>\$\d+)
 |(?P<other>.)
""", re.X | re.S)
COMMENT = re.compile(r"/\*|\*/")

NOT_YET = "{} statement is not yet supported."
EXPLICIT = "Explicit {} is not supported."
TEXT_WRITES = {"insert", "update", "delete", "merge"}
WRITES = TEXT_WRITES | {"truncate", "create", "drop", "alter", "comment", "grant", "revoke",
                        "reindex", "cluster", "refresh", "vacuum", "analyze", "analyse", "call",
                        "do"}
READS = {"fetch", "move", "execute", "lock", "copy"}
LOOKED_INTO = {"select", "with", "values", "table", "declare", "cursor", "explain"}
# Allowed while the disk is full, so that room can be made.
MAKES_ROOM = {"drop", "truncate", "vacuum", "analyze", "analyse"}
OWN_SETTINGS = {"session_timeout": "dws.session_timeout",
                "max_query_retry_times": "dws.max_query_retry_times",
                "retry_ecode_list": "dws.retry_ecode_list",
                "current_schema": "search_path"}
LARGE_OBJECTS = {"lo_create", "lo_creat", "lo_open", "lo_close", "lo_unlink", "lo_import",
                 "lo_export", "lo_put", "lo_get", "lo_from_bytea", "lo_lseek", "lo_tell",
                 "lo_truncate", "loread", "lowrite"}
ABSENT_FUNCTIONS = {"txid_status": "function txid_status(bigint) does not exist",
                    "pg_xact_status": "function pg_xact_status(xid8) does not exist"}


@dataclasses.dataclass(frozen=True)
class Token:
    kind: str
    text: str  # words in lower case, quoted names bare
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class Statement:
    start: int
    end: int
    verb: str = ""
    refusal: tuple | None = None    # (SQLSTATE, text): DWS never does this
    edits: tuple = ()               # (start, end, text): what PostgreSQL is to read instead
    touches: bool = False           # needs a data node
    writes: bool = False
    makes_room: bool = False
    begins: bool = False
    commits: bool = False
    rolls_back: bool = False
    copies_in: bool = False
    asks_nodes: bool = False        # reads pgxc_node
    asks_roles: bool = False        # reads pg_authid
    session_timeout: float | None = None


def tokens(sql):
    at = 0
    while at < len(sql):
        match = TOKEN.match(sql, at)
        kind, end = match.lastgroup, match.end()
        if kind == "comment":
            depth = 1
            while depth:
                bound = COMMENT.search(sql, end)
                if not bound:
                    end = len(sql)
                    break
                depth += 1 if bound.group() == "/*" else -1
                end = bound.end()
        elif kind == "dollar":
            close = sql.find(match.group(), end)
            end = len(sql) if close < 0 else close + len(match.group())
            yield Token("string", sql[at:end], at, end)
        elif kind == "word":
            yield Token(kind, match.group().lower(), at, end)
        elif kind == "quoted":
            yield Token("name", match.group().strip('"').replace('""', '"'), at, end)
        elif kind != "space":
            yield Token(kind, match.group(), at, end)
        at = end


@functools.lru_cache(maxsize=4096)
def statements(sql):
    """The statements of a text, without empty ones."""
    found, current = [], []
    for token in tokens(sql):
        if token.kind == "other" and token.text == ";":
            if current:
                found.append(describe(current))
            current = []
        else:
            current.append(token)
    if current:
        found.append(describe(current))
    return tuple(found)


def describe(found):
    start, end = found[0].start, found[-1].end
    # `(select ...)` is a select.
    words = [token.text if token.kind == "word" else "" for token in found]
    verb = next((word for word in words if word), "")
    second = words[1] if len(words) > 1 else ""
    edits = []
    if verb == "alter" and second == "session":
        edits.append((found[0].start, found[1].end, ""))
        found, words = found[2:], words[2:]
        verb, second = "set", words[1] if len(words) > 1 else ""
    traits = {
        "begins": verb == "begin" or (verb == "start" and second == "transaction"),
        "commits": verb in ("commit", "end") and second != "prepared",
        "rolls_back": verb in ("rollback", "abort") and "to" not in words[:3],
        "asks_nodes": any(token.text == "pgxc_node" for token in found),
        "asks_roles": any(token.text == "pg_authid" for token in found),
        "makes_room": verb in MAKES_ROOM,
        "copies_in": verb == "copy" and copies_in(found),
    }
    edits += [(token.start, token.end, "fake_cn_authid") for token in found
              if token.text == "pg_authid" and token.kind in ("word", "name")]
    traits["touches"], traits["writes"] = needs(verb, words, found, traits["copies_in"])
    if verb in ("set", "show", "reset"):
        edits += setting_edits(found, words)
        traits["session_timeout"] = session_timeout(found, words)
    if verb in ("begin", "start", "set"):
        edits += [(token.start, token.end, "repeatable read") for token in found
                  if token.kind == "word" and token.text == "serializable"]
        edits += [(token.start, token.end, "'repeatable read'") for token in found
                  if token.kind == "string" and token.text.lower() == "'serializable'"]
    return Statement(start, end, verb, refusal(verb, second, words, found), tuple(edits), **traits)


def refusal(verb, second, words, found):
    if verb in ("discard", "listen", "unlisten"):
        return "0A000", NOT_YET.format(verb.upper())
    if verb == "notify":
        return "0A000", NOT_YET.format("NOFITY")
    if verb == "prepare" and second == "transaction":
        return "0A000", EXPLICIT.format("prepare transaction")
    if verb in ("commit", "rollback") and second == "prepared":
        return "0A000", EXPLICIT.format(f"{verb} prepared transaction")
    if verb == "declare":
        head = words[:words.index("for")] if "for" in words else words
        if "scroll" in head and "no" not in head:
            return "0A000", "SCROLL CURSOR is not yet supported."
    if verb in ("fetch", "move") and {"backward", "prior"} & set(words):
        return "0A000", f"{verb.upper()} BACKWARD is not yet supported."
    if verb in ("set", "reset") and (
            "default_transaction_read_only" in words[:3]
            or ("characteristics" in words[:3] and "read" in words and "only" in words)):
        # The documentation says that it cannot be done, and not which error that is.
        return "0A000", "default_transaction_read_only cannot be set in a session."
    for at, token in enumerate(found[:-1]):
        if token.kind != "word" or found[at + 1].text != "(":
            continue
        if token.text in LARGE_OBJECTS:
            return "0A000", "large object is not yet supported."
        if token.text in ABSENT_FUNCTIONS:
            return "42883", ABSENT_FUNCTIONS[token.text]
        if token.text == "set_config" and any(
                other.text.lower() == "'default_transaction_read_only'" for other in found):
            return "0A000", "default_transaction_read_only cannot be set in a session."
    return None


def needs(verb, words, found, copying_in):
    """(needs a data node, writes there)"""
    if verb in WRITES:
        return True, True
    if verb in READS:
        return True, copying_in
    if verb not in LOOKED_INTO:
        return False, False
    sequence = any(token.text in ("nextval", "setval") for token in found)
    locks = any(word == "for" and after in ("update", "share", "no", "key")
                for word, after in zip(words, words[1:]))
    writes = (sequence or locks or (verb == "select" and "into" in words)
              or (verb in ("with", "explain") and bool(TEXT_WRITES & set(words))))
    return writes or verb == "table" or reads_table(found), writes


def reads_table(found):
    """Whether FROM or JOIN is followed by a table that is not a catalog. A function is none."""
    awaited = False
    for at, token in enumerate(found):
        if token.kind == "word" and token.text in ("from", "join"):
            awaited = True
        elif token.text in ("only", "lateral") and token.kind == "word":
            continue
        elif awaited:
            awaited = False
            if token.kind not in ("word", "name"):
                continue
            last = at
            while last + 2 < len(found) and found[last + 1].text == ".":
                last += 2
            if last + 1 < len(found) and found[last + 1].text == "(":
                continue
            if not token.text.startswith(("pg_", "pgxc_", "information_schema")):
                return True
        elif token.text == "," and at >= 2:
            # `from pg_class, t`: only right behind a name that FROM has.
            awaited = any(before.kind == "word" and before.text == "from"
                          for before in found[max(0, at - 5):at])
    return False


def copies_in(found):
    depth = 0
    for token in found:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.kind == "word" and token.text in ("from", "to"):
            return token.text == "from"
    return False


def setting_edits(found, words):
    at = 1
    while at < len(words) and words[at] in ("session", "local"):
        at += 1
    if at < len(words) and words[at] in OWN_SETTINGS:
        return [(found[at].start, found[at].end, OWN_SETTINGS[words[at]])]
    return []


def session_timeout(found, words):
    """In seconds, if that is what is set."""
    if "session_timeout" not in words[:3] or words[0] != "set":
        return None
    match = re.fullmatch(r"'?(\d+)\s*(ms|s|min|h)?'?", found[-1].text)
    if not match:
        return None
    return int(match[1]) * {"ms": 0.001, None: 1, "s": 1, "min": 60, "h": 3600}[match[2]]


def rewrite(sql, edits):
    """The text with (start, end, replacement) done."""
    for start, end, text in sorted(edits, reverse=True):
        sql = sql[:start] + text + sql[end:]
    return sql
