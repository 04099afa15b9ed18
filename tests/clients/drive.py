"""Takes the steps of a test to restbroker_client.py of examples/clients, beside it. Steps and results are JSON."""

import json
import math
import os
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from restbroker_client import Refused, Restbroker, Unknown  # type: ignore[import-not-found]  # a test copies it here


def act(verb: str, first: Any, *job: Any) -> dict[str, Any]:
    if verb == "wait":
        return {"done": broker.wait(job[0] if job else jids[-1], first)}
    if verb == "token":
        os.environ["RESTBROKER_TOKENFILE"] = first
        return said(lambda: Restbroker().token)
    if verb == "odd":
        return {"taken": [number for number, odd in enumerate(ODD) if "error" not in said(odd)]}
    command, arguments, fields = job
    if verb == "call":
        return {"done": broker.call(command, arguments, timeout=first, **fields)}
    if verb == "later":
        return {"jid": broker.later(first, command, arguments, **fields)}
    return {"jid": broker.push(command, arguments, **fields)}


def said(odd: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"said": odd()}
    except (Unknown, Refused):
        return {}
    except Exception as error:  # noqa: BLE001  # any other means that nothing was pushed
        return {"error": str(error)}


def call(timeout: Any) -> Callable[[], Any]:
    return lambda: broker.call("c", {}, timeout=timeout)


def push(value: Any, **fields: Any) -> Callable[[], Any]:
    return lambda: broker.push("c", {"value": value}, **fields)


ODD = [
    *map(call, (0, -1, math.nan, math.inf, Decimal("NaN"), 10**400, None, "soon", [])),
    *map(push, (math.nan, [math.inf], b"x", "\ud800", {"\ud800": 1}, object(), {1}, Decimal(1))),
    *(push(1, **{name: math.nan}) for name in ("at", "expiry")),
    push(1, at="soon"),
    lambda: broker.later(math.inf, "c", {}),
]
os.environ["REDIS_URL"] = os.environ["LATER"]  # after the import, as dotenv and Django do
broker: Any = Restbroker()
jids: list[str] = []
results: list[dict[str, Any]] = []
for step in json.load(sys.stdin):
    try:
        results.append(act(*step))
    except Refused as error:
        results.append({"refused": str(error), "code": error.answer["error"]["code"]})
    except Unknown as error:
        jids.append(error.jid)
        results.append({"unknown": str(error), "jid": error.jid})
print(json.dumps(results))
