#!/usr/bin/python3
"""config/dwspool.schema.json describes config/dwspool.yaml, as it is and with every key enabled."""

import json
import pathlib
import re
import unittest

import jsonschema
import yaml

CONFIG = pathlib.Path(__file__).resolve().parents[3] / "config"
EXAMPLE = (CONFIG / "dwspool.yaml").read_text(encoding="utf-8")
SCHEMA = json.loads((CONFIG / "dwspool.schema.json").read_text(encoding="utf-8"))

MINIMAL = {
    "clusters": {"main": {"coordinators": ["cn1:8000"]}},
    "databases": {"*": {}},
    "users": {"bob": {"password": "x"}},
}


def all_enabled(text):
    """A '#' right before a key, or before the indentation of one, is taken away."""
    return re.sub(r"(?m)^( *)#([^ \n].*|  +[^ \n].*)$", r"\1\2", text)


def changed(path, value):
    """MINIMAL with one value set, or taken away when it is None."""
    document = json.loads(json.dumps(MINIMAL))
    place = document
    for step in path[:-1]:
        place = place.setdefault(step, {})
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


def keys_of(schema, path=""):
    """Every key that the schema names, with '*' and '[]' for names and items."""
    if "$ref" in schema:
        yield from keys_of(SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]], path)
    for key, value in schema.get("properties", {}).items():
        here = f"{path}.{key}" if path else key
        yield here, value
        yield from keys_of(value, here)
    for several in ("anyOf", "allOf", "oneOf"):
        for each in schema.get(several, []):
            yield from keys_of(each, path)
    if "items" in schema:
        yield from keys_of(schema["items"], path + "[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from keys_of(schema["additionalProperties"], path + ".*")


def places_of(value, path=""):
    """The same for a document, with each value."""
    if isinstance(value, dict):
        names = path in ("clusters", "databases", "users")
        for key, inner in value.items():
            step = "*" if names else key
            here = f"{path}.{step}" if path else step
            if not names:
                yield here, inner
            yield from places_of(inner, here)
    elif isinstance(value, list):
        for inner in value:
            yield from places_of(inner, path + "[]")


class SchemaTest(unittest.TestCase):
    def setUp(self):
        jsonschema.Draft7Validator.check_schema(SCHEMA)
        self.validator = jsonschema.Draft7Validator(SCHEMA)

    def errors(self, document):
        return [error.message for error in self.validator.iter_errors(document)]

    def test_example(self):
        self.assertEqual(self.errors(yaml.safe_load(EXAMPLE)), [])

    def test_example_with_everything_enabled(self):
        enabled = all_enabled(EXAMPLE)
        self.assertNotEqual(enabled, EXAMPLE)
        self.assertEqual(self.errors(yaml.safe_load(enabled)), [])

    def test_example_shows_every_key(self):
        # Of a password and the file that it may come out of, one can be there; only one cluster has
        # this key.
        unshown = {"clusters.*.auth_query.password_file"}
        shown = {path for path, _ in places_of(yaml.safe_load(all_enabled(EXAMPLE)))}
        named = {path for path, _ in keys_of(SCHEMA)}
        self.assertEqual(named - unshown, shown)

    def test_example_shows_the_defaults(self):
        defaults = {}
        for path, schema in keys_of(SCHEMA):
            if "$ref" in schema:
                schema = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]
            if "default" in schema:
                defaults[path] = schema["default"]
        compared = 0
        for path, value in places_of(yaml.safe_load(all_enabled(EXAMPLE))):
            # Under a database or user stand examples, in a listener a mode that is a number here.
            if path.startswith(("databases.", "users.", "clusters.*.dialect", "listen", "access")):
                continue
            if path in defaults:
                self.assertEqual(value, defaults[path], path)
                compared += 1
        self.assertGreater(compared, 20)

    def test_every_object_is_closed_and_described(self):
        for path, schema in keys_of(SCHEMA):
            target = schema
            if "$ref" in schema:
                target = SCHEMA["definitions"][schema["$ref"].rsplit("/", 1)[1]]
            self.assertTrue(target.get("description"), path)
            if "properties" in target:
                self.assertIs(target["additionalProperties"], False, path)

    def test_refused(self):
        self.assertEqual(self.errors(MINIMAL), [])
        for path, value in [
            (("clusters",), None),
            (("databases",), None),
            (("databases",), {}),
            (("databases", "dwspool"), {}),
            (("databases", "x" * 64), {}),
            (("clusters", "main", "dialekt"), "dws"),
            (("clusters", "main", "dialect"), "oracle"),
            (("clusters", "main"), {}),
            (("workers",), 0),
            (("workers",), "2"),
            (("defaults", "queue_timeout"), 5),
            (("defaults", "queue_timeout"), "5m"),
            (("defaults", "defer_begin"), "yes"),
            (("defaults", "reserve_pool_timeout"), 0),
            (("defaults", "pin_on"), "my_function"),
            (("defaults", "pin_on"), ["a.b_c"]),
            (("client_login_timeout",), 0),
            (("listen",), "127.0.0.1:6432"),
            (("listen",), [{"port": 1}]),
            (("listen",), [{"host": "a", "unix_dir": "/a"}]),
            (("http",), {"host": "a"}),
            (("users", "bob", "password"), ["x"]),
            (("users", "bob", "auth"), "peer"),
            (("access",), []),
            (("access",), [{"method": "ldap"}]),
            (("tls",), {"mode": "verify"}),
            (("clusters", "main", "replay"), {"refusals": [{"sqlstate": "08006"}]}),
            (("clusters", "main", "replay"),
             {"refusals": [{"sqlstate": "8006", "text": "cannot reach"}]}),
        ]:
            with self.subTest(path=path, value=value):
                self.assertNotEqual(self.errors(changed(path, value)), [])

    def test_accepted(self):
        for path, value in [
            (("workers",), "${WORKERS:-4}"),
            (("defaults", "queue_timeout"), 0),
            (("defaults", "queue_timeout"), "5 min"),
            (("defaults", "defer_begin"), "${DEFER}"),
            (("clusters", "main"), {"conninfo": "service=x"}),
            (("databases", "*"), {"pool_mode": "session"}),
            (("defaults", "pool_mode"), "statement"),
            (("defaults", "pin_on"), ["my_function", "${FUNCTION}"]),
            (("clusters", "main", "replay"),
             {"refusals": [{"sqlstate": "XX000", "text": "cannot reach"}]}),
            (("http",), {"port": 9187}),
            (("listen",), [{"unix_dir": "/a", "mode": "0o770"}]),
            (("users", "bob", "password"), 7),
        ]:
            with self.subTest(path=path, value=value):
                self.assertEqual(self.errors(changed(path, value)), [])


if __name__ == "__main__":
    unittest.main()
