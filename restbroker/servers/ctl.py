"""A command as a server's own command line takes it (`ejabberdctl`, `mongooseimctl`), and what that prints. Pure.

A connector's part `ctl` makes these for the command line. Always holds: an `CtlCommand` has what `enqueue` would push
for the same; `CtlOutput` is stdout, to the byte, and the exit code.
"""

from collections.abc import Callable, Mapping, Sequence

import attrs

from restbroker.job.command import Catalogue
from restbroker.job.json_types import Json


@attrs.frozen
class CtlCommand:
    """One command. `name` is that of the catalogue; `endpoint` may say more (`register/v1`); `written` as it was."""

    name: str
    endpoint: str
    arguments: Mapping[str, Json]
    written: str


@attrs.frozen
class CtlOutput:
    """What goes to stdout, with its last line break, and the exit code. `note` is for a person, on stderr."""

    text: str = ""
    code: int = 0
    note: str | None = None


@attrs.frozen
class CtlRefusal:
    """What belongs to the machine of the server, or is not ours to do. `cure`: what to use in its place."""

    message: str
    cure: str


@attrs.frozen
class JobReply:
    """The end of a job, as whoever waits is told. `code` is that of its error; "" without one. `text`: as sent."""

    outcome: str
    text: str
    answer: Json
    status: int | None
    code: str

    @property
    def is_done(self) -> bool:
        """Whether the server did it, or answered a question with no."""
        return self.outcome in ("delivered", "negative")


@attrs.frozen
class CtlDialect:
    """How one kind of server is commanded. `program` is its command line.

    `read(catalogue, words, version)` reads what stands behind `restbroker ctl`; `version` is that of `--version`, as it
    was written. `write(catalogue, asked, answered)` prints an answer; None: its own command line could not have met
    that. `asks_state`: the command that asks whether the server runs, where there is one.
    """

    program: str
    read: Callable[[Catalogue, Sequence[str], str | None], CtlCommand | CtlOutput | CtlRefusal]
    write: Callable[[Catalogue, CtlCommand, JobReply], CtlOutput | None]
    asks_state: str | None = None


def read_reply(details: Mapping[str, Json]) -> JobReply:
    """What a job's reply says, whatever it has in it."""
    error, status = details.get("error"), details.get("status")
    code = error.get("code") if isinstance(error, Mapping) else None
    return JobReply(
        outcome=str(details.get("outcome")),
        text=str(details.get("text") or ""),
        answer=details.get("answer"),
        status=status if isinstance(status, int) else None,
        code=str(code or ""),
    )
