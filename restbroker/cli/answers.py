"""What `restbroker enqueue --wait` and `ctl` do alike: choose a token, and wait for the answer to the job they pushed.

Always holds: if no answer comes, the job's id is printed, and that it is queued; neither Trio nor an HTTP client is
imported.
"""

import signal
from collections.abc import Mapping, Sequence

import typer

from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.config.values import duration_text
from restbroker.console import output
from restbroker.console.exits import Exit
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.command import Command, CommandSpec
from restbroker.job.json_types import Json
from restbroker.operate.answer import AnswerWait
from restbroker.operate.request import access_of, allowing_token


def token_of(tokens: Sequence[Token], target: Target, queue: str, spec: CommandSpec | None, command: Command) -> Token:
    """Return the first token that allows the command there; if none does, print what to configure and exit with 4."""
    found = allowing_token(tokens, access_of(target, queue, spec=spec, command=command))
    if isinstance(found, Token):
        return found
    if len(found) > 1:
        output.say(f"None of the {len(found)} tokens allows this; nothing was queued.")
    for reason in found:
        output.say(f"{reason.code}: {reason.message}\n{reason.hint}")
    raise typer.Exit(Exit.REFUSED)


def answer_or_end(
    waiting: AnswerWait, timeout_s: float | None, *, is_explained: bool, as_json: bool = False
) -> Mapping[str, Json]:
    """Return the answer to the job; without one, print what became of the job and end with an exit code of its own.

    `timeout_s` None: no limit. `is_explained`: it was said that the server gets no jobs.
    """
    jid = waiting.jid
    try:
        details = waiting.answer(timeout_s, is_explained=is_explained)
        if details is not None:
            return details
        then = waiting.state()
    except KeyboardInterrupt:
        output.say(f"The job {jid} was queued and goes on. `restbroker explain {jid}` says where it is.")
        raise typer.Exit(128 + signal.SIGINT) from None
    except (StoreUnavailable, StoreRefused) as error:
        # Otherwise a user who sees only this error would push it again.
        output.say(f"The job {jid} was queued: do not push it again. restbroker cannot wait for its answer.\n{error}")
        told: Json = {"code": "NoAnswer", "message": error.message, "cure": error.hint}
        if as_json:
            output.as_json({"jid": jid, "outcome": "queued", "error": told})
        raise typer.Exit(Exit.WAITING) from None
    after = "" if timeout_s is None else f" after {duration_text(timeout_s)}"
    again = " Do not push it again." if waiting.expires_at_s is None else ""
    output.say(f"The job {jid} is not done{after}: {then}.{again}\n`restbroker explain {jid}` says more.")
    if as_json:
        output.as_json({"jid": jid, "outcome": "queued"})
    raise typer.Exit(Exit.WAITING)
