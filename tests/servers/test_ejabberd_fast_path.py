"""Ordinary commands of a real ejabberd take the fast path."""

import json
from collections.abc import Callable
from typing import Any, Final

from restbroker.telemetry.events import JobFinished
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.paths import Paths

_JOBS: Final = 12_000
_SHARE: Final = 0.99
_HOST: Final = "example.org"
_OWNER: Final = "fast-path-owner"


def job(number: int) -> bytes:
    """Return one of four commands, with an answer for each third of the jobs."""
    command, arguments = (
        ("register", {"user": f"fast-path-{number}", "host": _HOST, "password": "a password"}),
        ("send_message", _message(number)),
        ("user_sessions_info", {"user": _OWNER, "host": _HOST}),
        ("add_rosteritem", _contact(number)),
    )[number % 4]
    args: list[object] = [command, arguments, "t"]
    if number % 3 == 0:
        args.append(f"reply-{number}")
    return json.dumps({"class": "Add", "args": args, "jid": f"jid-{number}", "queue": "q", "retry": True}).encode()


def _message(number: int) -> dict[str, Any]:
    ends = {"from": f"admin@{_HOST}", "to": f"nobody-{number}@{_HOST}"}
    return {"type": "headline", **ends, "subject": "", "body": f"number {number}"}


def _contact(number: int) -> dict[str, Any]:
    names = {"localuser": _OWNER, "user": f"contact-{number}", "nick": "a nick", "group": "a group", "subs": "both"}
    return {"localhost": _HOST, "host": _HOST, **names}


async def test_of_ordinary_commands_ninety_nine_in_a_hundred_take_the_fast_path(
    paths: Paths, ejabberd: Ejabberd, tell: Callable[[str], None]
) -> None:
    status, said = ejabberd.call("register", user=_OWNER, host=_HOST, password=PASSWORD)
    assert status == 200, said
    login = {"Basic": {"User": ejabberd.admin, "Pass": PASSWORD}}
    async with paths.broker([job(number) for number in range(_JOBS)], URL=ejabberd.url, Auth=login) as serving:
        await serving.until_ended(_JOBS)
        serving.control.stop.set()
    share = serving.fast_jobs() / _JOBS
    tell(f"fast path: {share:.2%} of {_JOBS} commands of ejabberd")
    odd = [event for event in serving.events if isinstance(event, JobFinished) and event.outcome != "delivered"]
    assert odd == []
    assert paths.client.command("LLEN", "queue:replies") == _JOBS // 3
    assert share >= _SHARE
