"""Whether what a stand-in for Openfire says is what a real one was recorded to say: status, type and members."""

import json
from pathlib import Path
from typing import Any

from restbroker.transport.message import Response


def recorded(name: str) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The whole answers of that file, by command and status."""
    lines = (Path(__file__).parents[1] / "recorded" / "openfire" / f"{name}.jsonl").read_text("utf-8").splitlines()
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for one in map(json.loads, lines):
        if not one.get("cut"):
            found.setdefault((one["command"], one["status"]), []).append(one)
    return found


def is_recorded(answers: dict[tuple[str, int], list[dict[str, Any]]], command: str, said: Response) -> bool:
    """True also where no such answer to the command was recorded."""
    like = answers.get((command, said.status))
    given = said.headers.get("content-type", "").partition(";")[0]
    return like is None or any(
        (one["type"] or "").partition(";")[0] == given and _alike(_read(one["body"]), _read(said.body.decode()))
        for one in like
    )


def _read(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body


def _alike(one: Any, other: Any) -> bool:
    """Either may lack members that the other has, and lists may be empty."""
    match one, other:
        case dict(), dict():
            both = one.keys() & other.keys()
            return both in (one.keys(), other.keys()) and all(_alike(one[name], other[name]) for name in both)
        case [first, *_], [second, *_]:
            return _alike(first, second)
        case _:
            return one is None or other is None or type(one) is type(other)
