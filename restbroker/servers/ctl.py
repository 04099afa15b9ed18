"""Commands in the form of a server's own command line (`ejabberdctl`, `mongooseimctl`), and its output. Pure.

A kind's part `ctl` makes these for our command line. Always holds: a `CtlCommand` has what `enqueue` would push for the
same; `CtlOutput` is stdout, to the byte, and the exit code.
"""

from collections.abc import Callable, Mapping, Sequence

from restbroker.job.command import Catalogue
from restbroker.job.json_types import Json
from restbroker.light import frozen


@frozen
class CtlCommand:
    """One command as it was read; `name` is that of the catalogue, `typed_name` the word that was typed.

    `endpoint` may say more than the name (`register/v1`).
    """

    name: str
    endpoint: str
    arguments: Mapping[str, Json]
    typed_name: str


@frozen
class CtlOutput:
    """What goes to stdout, with its last line break, and the exit code; `note` is for a person, on stderr."""

    text: str = ""
    code: int = 0
    note: str | None = None


@frozen
class CtlRefusal:
    """Why a command is refused: it belongs on the server's machine, or is not ours to do.

    `hint`: what to use in its place.
    """

    message: str
    hint: str


@frozen
class JobReply:
    """The end of a job, as read from its reply; `text` is the server's answer as it was sent.

    `code` is that of the job's error; "" without one.
    """

    outcome: str
    text: str
    answer: Json
    status: int | None
    code: str

    @property
    def is_done(self) -> bool:
        """Whether the server did it, or answered no to a question."""
        return self.outcome in ("delivered", "negative")


@frozen
class CtlDialect:
    """How `restbroker ctl` stands in for the command line of one kind of server, which `program` names.

    `read(catalogue, words, version)` reads the words behind `restbroker ctl`; `version` is that of `--version`, as it
    was written. `write(catalogue, asked, answered)` returns the output for an answer; None if the server's own command
    line has no output for that. `asks_state`: the command that asks whether the server runs, if there is one.
    """

    program: str
    read: Callable[[Catalogue, Sequence[str], str | None], CtlCommand | CtlOutput | CtlRefusal]
    write: Callable[[Catalogue, CtlCommand, JobReply], CtlOutput | None]
    asks_state: str | None = None


def read_reply(details: Mapping[str, Json]) -> JobReply:
    """Return the end of a job from the members of its reply; missing ones, or of another type, count as empty."""
    error, status = details.get("error"), details.get("status")
    code = error.get("code") if isinstance(error, Mapping) else None
    return JobReply(
        outcome=str(details.get("outcome")),
        text=str(details.get("text") or ""),
        answer=details.get("answer"),
        status=status if isinstance(status, int) else None,
        code=str(code or ""),
    )
