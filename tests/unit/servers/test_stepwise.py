"""A connector that says that it is stepwise waits for nothing but its link: no lock, no Redis, no sleep, no nursery.

Each is advanced by hand with no current task, so that whatever else it awaits raises, through each command of the
golden tables and whatever its server answers to it and to questions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio
import trio.lowlevel

from restbroker.broker import steps
from restbroker.broker.steps import IN_TASK, step
from restbroker.job.command import Call, Command
from restbroker.job.outcome import Outcome
from restbroker.servers import registry
from restbroker.servers.contract import Connector, Ports
from restbroker.transport.message import MaybeSent, NotSent, Request, Response
from tests.golden.cases import KINDS
from tests.golden.fates import target_of
from tests.golden.memory import SERVICES

NOT_STEPWISE: Final = {"openfire-chat", "prosody-roster"}
STATUSES: Final = (200, 201, 204, 302, 400, 401, 403, 404, 409, 429, 500, 503)


class Link:
    """Yields its steps, as that of a delivery does; `asks` distinguishes a question from a sending."""

    asks = False

    def ask(self, request: Request) -> Any:
        self.asks = True
        return step(request)

    def send(self, request: Request) -> Any:
        self.asks = False
        return step(request)

    async def task(self) -> None:
        await step(IN_TASK)


def drive(connector: Connector, call: Call, given: Response | Exception, questions: Response | Exception) -> bool:
    """Take all steps; return whether it came to its end, and not to `link.task`, behind which it may await anything."""
    link, got, advance = Link(), None, steps.advance_untasked
    error: Exception | None = None
    assert advance is not steps.begin_task, "Trio has another name for it: see steps.py"
    run = connector.deliver(call, link)
    while True:
        try:
            taken = advance(run, got, error)
        except StopIteration as end:
            return isinstance(end.value, Outcome)
        except (NotSent, MaybeSent):
            return True
        if taken is IN_TASK:
            run.close()
            return False
        assert isinstance(taken, Request), taken
        answer = questions if link.asks else given
        got, error = (answer, None) if isinstance(answer, Response) else (None, answer)


def answers(well: Mapping[str, tuple[int, bytes]]) -> list[Response | Exception]:
    bodies = [b"", b"0", b"{}", b"[]", b'"text"', *(body for _, body in well.values())]
    silences: list[Response | Exception] = [NotSent("gone"), MaybeSent("lost"), MaybeSent("late", timed_out=True)]
    return [*silences, *(Response(status, {}, body, 0.1) for status in STATUSES for body in bodies)]


@pytest.mark.parametrize("name", sorted({*KINDS} - NOT_STEPWISE))
async def test_delivery_awaits_only_its_link_whatever_is_answered(name: str) -> None:
    kind = KINDS[name]
    target = target_of(kind)
    ports = Ports(lambda _: None, lambda: 1_800_000_000.0, None, SERVICES)
    ends = 0
    for case in kind.commands:
        call = Call(Command(case.command, case.arguments), host="example.org", identity="a" * 24)
        for given in answers(kind.well):
            for questions in (Response(200, {}, b"", 0.0), Response(503, {}, b"", 0.0), NotSent("gone")):
                connector = registry.open_connector(target, ports)
                assert getattr(connector, "stepwise", False)
                ends += drive(connector, call, given, questions)
    assert ends > len(kind.commands), "most commands end without a task"


@pytest.mark.parametrize("name", sorted({*KINDS} - NOT_STEPWISE))
async def test_login_in_a_file_is_reread_for_each_request(name: str, tmp_path: Path) -> None:
    file, kind = tmp_path / "pass", KINDS[name]
    file.write_text("one")
    user = "admin" if name == "openfire-rest" else "admin@example.org"
    members = {**kind.members, "Auth": {"Basic": {"User": user, "PassFile": str(file)}}}
    connector = registry.open_connector(
        target_of(attrs.evolve(kind, members=members)),
        Ports(lambda _: None, lambda: 1_800_000_000.0, None, SERVICES),
    )
    # Prosody's other APIs have a login of their own.
    case = next((command for command in kind.commands if command.command == "message"), kind.commands[0])
    call = Call(Command(case.command, case.arguments), host="example.org", identity="a" * 24)

    def login() -> str | None:
        run = connector.deliver(call, Link())
        sent = steps.advance(run, None, None)
        run.close()
        assert isinstance(sent, Request)
        return {key.lower(): value for key, value in sent.headers}.get("authorization")

    before = login()
    assert before is not None
    file.write_text("two")
    assert login() not in (before, None)


async def test_other_awaits_raise_and_break_nothing() -> None:
    async def deliver(what: Any) -> None:
        async with what:
            pass

    lock, advance = trio.Lock(), steps.advance_untasked
    assert advance is not steps.begin_task
    for what in (lock, trio.open_nursery()):
        with pytest.raises(steps.AwaitedWithoutTask):
            advance(deliver(what), None, None)  # type: ignore[arg-type]
    trap: object = advance(trio.sleep(0), None, None)  # type: ignore[arg-type]  # noqa: ASYNC105, ASYNC115
    assert not isinstance(trap, Request), "the worker throws an error there"
    assert not lock.locked()
    await trio.lowlevel.checkpoint()
