"""Takes the steps of a test to restbroker_client.py of examples/clients, beside it. Steps and results are JSON."""

import json
import sys
from typing import Any

from restbroker_client import Refused, Restbroker, Unknown  # type: ignore[import-not-found]  # a test copies it here


def act(verb: str, first: Any, *job: Any) -> dict[str, Any]:
    if verb == "wait":
        return {"done": broker.wait(jids[-1], first)}
    command, arguments, fields = job
    if verb == "call":
        return {"done": broker.call(command, arguments, timeout=first, **fields)}
    if verb == "later":
        return {"jid": broker.later(first, command, arguments, **fields)}
    return {"jid": broker.push(command, arguments, **fields)}


broker = Restbroker()
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
