"""Pausing and resuming of queues and targets, quieting and stopping of processes: a page that asks, then the doing.

`web.site` serves it. Always holds: nothing is done without a second, marked form, and all of it goes through `admin`,
which writes down who did what.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import attrs
from quart import Response, request

from restbroker.admin import processes, queues, targets
from restbroker.config.values import BadValue, seconds
from restbroker.errors import UsageError
from restbroker.store.client import Client
from restbroker.web.desk import Desk
from restbroker.web.shell import Shell

_WHY_LIMIT: Final = 200
_NAME_LIMIT: Final = 400
_MOST_DAYS: Final = 366


@attrs.frozen
class Step:
    """Something to be done with one thing. `page`: where it is to be seen; `meaning`: what happens, for the visitor.

    `lasts`: it may end by itself after a time. `act` gets a client, the name, who, why, and for how long.
    """

    page: str
    label: str
    meaning: str
    act: Callable[[Client, str, str, str, float | None], object]
    lasts: bool = False
    is_grave: bool = False


def _resume_queue(client: Client, name: str, who: str, _why: str, _for_s: float | None) -> None:
    queues.resume(client, name, who)


def _resume_target(client: Client, name: str, who: str, _why: str, _for_s: float | None) -> None:
    targets.resume(client, name, who)


def _quiet(client: Client, name: str, who: str, _why: str, _for_s: float | None) -> None:
    processes.quiet(client, name, who)


def _stop(client: Client, name: str, who: str, _why: str, _for_s: float | None) -> None:
    processes.stop(client, name, who)


STEPS: Final[Mapping[str, Step]] = {
    "pause-queue": Step(
        "queues",
        "Pause the queue",
        "No process takes jobs of this queue meanwhile, Ruby's neither. They wait; jobs in hand still run.",
        queues.pause,
        lasts=True,
    ),
    "resume-queue": Step("queues", "Resume the queue", "Its jobs are taken again, by every process.", _resume_queue),
    "pause-target": Step(
        "targets",
        "Pause the target",
        "No process takes jobs for this target meanwhile. They wait; jobs in hand still run.",
        targets.pause,
        lasts=True,
    ),
    "resume-target": Step(
        "targets", "Resume the target", "Its jobs are taken again, unless something else holds it back.", _resume_target
    ),
    "quiet-process": Step(
        "processes",
        "Quiet the process",
        "It takes no more jobs, for good, and finishes what it has in hand. Only a restart ends that.",
        _quiet,
        is_grave=True,
    ),
    "stop-process": Step(
        "processes",
        "Stop the process",
        "It finishes what it has in hand, within its time-out, and ends. A supervisor or service starts it again.",
        _stop,
        is_grave=True,
    ),
}


@attrs.frozen(eq=False)
class SteerPages:
    """The views. `go` sends the visitor to a page; `hurry` has live pages look again at once."""

    desk: Desk
    shell: Shell
    go: Callable[[str], Response]
    hurry: Callable[[], None]

    async def ask(self) -> Response:
        """The page that asks."""
        step, name = _asked(request.args.get("do", ""), request.args.get("name", ""))
        return Response(self._question(request.args["do"], step, name))

    async def act(self) -> Response:
        """Its form."""
        form = await request.form
        step, name = _asked(form.get("do", ""), form.get("name", ""))
        why, length = form.get("why", "").strip()[:_WHY_LIMIT], form.get("for", "").strip()
        try:
            for_s = seconds(length, _MOST_DAYS) if step.lasts and length else None
        except BadValue:
            wrong = "This is no time: give 30m, 2h or 1d, or leave it empty."
            return Response(self._question(form["do"], step, name, why=why, length=length, wrong=wrong), 400)
        await self.desk.ask(partial(_act, step=step, name=name, who=self.shell.who(), why=why, for_s=for_s))
        self.hurry()
        return self.go(f"/{step.page}")

    def _question(self, do: str, step: Step, name: str, why: str = "", length: str = "", wrong: str = "") -> str:
        values = {"do": do, "step": step, "subject": name, "why": why, "length": length, "wrong": wrong}
        return self.shell.page("steer.html", name=step.page, title=f"{step.label}?", **values)


def _act(client: Client, *, step: Step, name: str, who: str, why: str, for_s: float | None) -> None:
    step.act(client, name, who, why, for_s)


def _asked(do: str, name: str) -> tuple[Step, str]:
    step = STEPS.get(do)
    if step is None or not 0 < len(name) <= _NAME_LIMIT:
        raise UsageError("It is not said what to do.", "Go back, and press a button.")
    return step, name
