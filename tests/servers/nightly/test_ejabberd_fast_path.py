"""Ordinary commands of a real ejabberd take the fast path."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from restbroker.config.secret import Secret
from restbroker.telemetry.events import JobFinished
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.paths import Paths
from tests.support.wait import until_async

_JOBS: Final = 12_000
_SHARE: Final = 0.99
_HOST: Final = "example.org"
_OWNER: Final = "fast-path-owner"


def job(number: int, name: str) -> bytes:
    """Return one of four commands, with an answer for each third of the jobs."""
    command, arguments = (
        ("register", {"user": f"fast-path-{name}-{number}", "host": _HOST, "password": "a password"}),
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


@pytest.mark.parametrize("login", ["password", "file", "token"])
async def test_of_ordinary_commands_ninety_nine_in_a_hundred_take_the_fast_path(
    login: str, paths: Paths, ejabberd: Ejabberd, tell: Callable[[str], None], tmp_path: Path
) -> None:
    status, said = ejabberd.call("register", user=_OWNER, host=_HOST, password=PASSWORD)
    assert status in {200, 409}, said
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    await until_async(lambda: Secret(path=file).file_state() is not None, "it changed long enough ago")
    user = {"User": ejabberd.admin}
    auth = {
        "password": {"Basic": {**user, "Pass": PASSWORD}},
        "file": {"Basic": {**user, "PassFile": str(file)}},
        "token": {"Auto": {**user, "PassFile": str(file)}},
    }[login]
    jobs = [job(number, login) for number in range(_JOBS)]
    async with paths.broker(jobs, URL=ejabberd.url, Auth=auth) as serving:
        await serving.until_ended(_JOBS)
        serving.control.stop.set()
    share = serving.fast_jobs() / _JOBS
    tell(f"fast path: {share:.2%} of {_JOBS} commands of ejabberd, login by {login}")
    odd = [event for event in serving.events if isinstance(event, JobFinished) and event.outcome != "delivered"]
    assert odd == []
    assert paths.client.command("LLEN", "queue:replies") == _JOBS // 3
    assert share >= _SHARE
