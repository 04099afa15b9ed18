"""Jobs as Rails' ActiveJob has them pushed: recorded ones, and any that a test wants."""

import json
from collections.abc import Mapping
from typing import Final

from dev.tools.pages import ROOT
from restbroker.job.active_job import WRAPPERS
from restbroker.job.json_types import Json

_FOLDER: Final = ROOT / "tests" / "recorded" / "active_job"
RECORDED: Final = sorted(path.name for path in _FOLDER.glob("*.json"))


def recorded(name: str) -> bytes:
    """The job in one of the recorded files."""
    return (_FOLDER / name).read_bytes().rstrip(b"\n")


OBJECT: Final[Mapping[str, Json]] = {"_aj_globalid": "gid://shop/User/5"}
"""A record of the application's database, as ActiveJob writes it."""


def wrapped(args: Json, *, name: str = WRAPPERS[0], **fields: Json) -> bytes:
    """A job that ActiveJob wrapped, as Sidekiq's client writes it; `name`: the wrapper's class."""
    return json.dumps({"retry": True, "queue": "rest", **wrapper(args, name), **fields}).encode()


def wrapper(args: Json, name: str = WRAPPERS[0]) -> dict[str, Json]:
    """The fields of a job that show that ActiveJob wrapped it."""
    inner: dict[str, Json] = {
        "job_class": "XmppCommand",
        "job_id": "20eb63df-75f7-450a-8b11-0d6cc6430fe6",
        "provider_job_id": None,
        "queue_name": "rest",
        "priority": None,
        "arguments": args,
        "executions": 0,
        "exception_executions": {},
        "locale": "en",
        "timezone": "UTC",
        "enqueued_at": "2026-11-28T17:40:41Z",
    }
    return {"class": name, "wrapped": "XmppCommand", "args": [inner]}
