"""Stands in for `Restbroker` in your tests, without Redis (docs/test-your-code.md). Copy it beside the client."""

import json
import pathlib
import re
import unittest.mock
import urllib.parse

from restbroker_client import Restbroker, Unknown


class Double(Restbroker):
    """`jobs` are those that were pushed, oldest first; `answers` has a command's answer, or a function of its job."""

    def __init__(self, schema="job.schema.json", queue="rest"):
        self.schema = json.loads(pathlib.Path(schema).read_text("utf-8"))
        self.jobs, self.answers = [], {}
        self.redis, self.token, self.queue = unittest.mock.MagicMock(), "TOKEN", queue

    def _ask(self, jid, _ask, key, given, **_):
        """Stand in for Redis: keep the job that is pushed, or return the answer to one."""
        if key == f"restbroker:reply:{jid}":
            asked = [job for job in self.jobs if job.get("reply_to") in (jid, key)]
            answer = self.answers.get(asked[-1]["args"][0]) if asked else None
            if not (answer := answer(asked[-1]) if callable(answer) else answer):
                raise Unknown(f"The test has no answer to the job {jid}.", jid)
            return key, json.dumps({"jid": asked[-1]["jid"], "command": asked[-1]["args"][0], **answer})
        ((raw, due),) = given.items() if isinstance(given, dict) else [(given, None)]
        job = json.loads(raw)
        if found := list(faults(job, self.schema, self.schema["$defs"])):
            raise AssertionError(f"A job of {job['args'][0]} is wrong: {'; '.join(found)}")
        return self.jobs.append(job if due is None else {**job, "at": due})


NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null", int: "integer"}


def faults(value, rule, defs, at="job"):
    """Say what breaks a JSON Schema, by those of its words that restbroker uses."""
    if rule is False:
        yield f"{at} is not known"
    for word, want in rule.items() if isinstance(rule, dict) else ():
        holds, below = True, []  # below: values, with their rules and places
        match word, value:
            case "type", _:
                kind = "integer" if isinstance(value, float) and value % 1 == 0 else NAMES.get(type(value), "number")
                holds = kind in want or (kind == "integer" and "number" in want)
            case "const" | "enum", _:
                holds = value in (want if word == "enum" else [want])
            case "pattern", str():
                holds = re.search(want, value)
            case ("minLength", str()) | ("minItems", list()):
                holds = len(value) >= want
            case ("maxLength", str()) | ("maxItems", list()) | ("maxProperties", dict()):
                holds = len(value) <= want
            case "required", dict():
                holds = value.keys() >= set(want)
            case "contains", list():
                count = sum(not any(faults(item, want, defs)) for item in value)
                holds = rule.get("minContains", 1) <= count <= rule.get("maxContains", count)
            case "anyOf", _:
                yield from min((list(faults(value, part, defs, at)) for part in want), key=len)
            case "allOf", _:
                below = [(value, part, at) for part in want]
            case "if", _:
                below = [(value, rule.get("else" if any(faults(value, want, defs)) else "then"), at)]
            case "$ref", _:
                below = [(value, defs[urllib.parse.unquote(want[8:]).replace("~1", "/").replace("~0", "~")], at)]
            case "items" | "prefixItems", list():
                parts = want if word == "prefixItems" else [want] * len(value)
                below = [(item, parts[n], f"{at}[{n}]") for n, item in enumerate(value[: len(parts)])]
            case "properties", dict():
                below = [(value[name], part, f"{at}.{name}") for name, part in want.items() if name in value]
            case "additionalProperties", dict():
                below = [(item, want, f"{at}.{name}") for name, item in value.items() if name not in rule["properties"]]
        if not holds:
            yield f"{at}: {word} {want}"
        for item, part, place in below:
            yield from faults(item, part, defs, place)
