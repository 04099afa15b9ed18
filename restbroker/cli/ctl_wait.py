"""How `restbroker ctl` waits: push one job, wait for its end, and print on stderr what the other program does not.

Always holds: if the end of a job does not come, its id is printed, and that it is queued; a job whose refusal was
printed does not stay in the dead set, unless it may have run.
"""

import secrets
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

import attrs
import typer

from restbroker.config.core import Config
from restbroker.config.files import text_of
from restbroker.config.values import duration_text
from restbroker.console import output
from restbroker.console.exits import Exit, no
from restbroker.console.who import who
from restbroker.errors import StoreRefused, StoreUnavailable, UsageError
from restbroker.job.json_types import Json
from restbroker.operate import ctl
from restbroker.operate.enqueue import JobRequest, ServingProcess, find_process_if_known, push, wait
from restbroker.servers.ctl import JobReply, read_reply
from restbroker.store.client import Client

_PATIENCE_S: Final = 2.0
"""How many seconds to print nothing: a process reports within 2.5 s that a target is down."""
_ROUND_S: Final = 30.0
"""How many seconds one wait lasts if there is no time-out; it is repeated."""
_KEPT: Final = frozenset({"uncertain"})


@attrs.frozen
class Answer:
    """How a job ended, with its id and the details of the answer."""

    jid: str
    answered: JobReply
    details: Mapping[str, Json]


def answer(
    client: Client, order: JobRequest, found: ServingProcess | None, timeout_s: float | None, *, settings: Config
) -> Answer:
    """Push the job, wait for its end, and return it.

    End the command with 6 and print the job's id if no end comes within `timeout_s` (None: no limit); at Ctrl-C end
    with 130, and the job stays queued.
    """
    if found is None:
        output.say(f"note: no running process serves the queue {order.queue}; the job will wait for one.")
    jid = _push(client, order)
    try:
        details = _wait(client, order.queue, jid, timeout_s, is_explained=found is None)
    except KeyboardInterrupt:
        output.say(f"The job {jid} was queued and goes on. `restbroker explain {jid}` says where it is.")
        raise typer.Exit(128 + signal.SIGINT) from None
    except (StoreUnavailable, StoreRefused) as error:
        output.say(f"The job {jid} was queued: do not run it again. restbroker cannot wait for its answer.\n{error}")
        raise typer.Exit(Exit.WAITING) from None
    if details is None:
        after = "" if timeout_s is None else f" after {duration_text(timeout_s)}"
        # Of no use to the commands that get their answer: they start sooner without it.
        from restbroker.cli import unanswered

        then = unanswered.look_up(client, settings, jid)
        output.say(f"The job {jid} is not done{after}: {then}. Do not run it again.")
        output.say(f"`restbroker explain {jid}` says more.")
        raise typer.Exit(Exit.WAITING)
    return Answer(jid, read_reply(details), details)


def try_answer(client: Client, order: JobRequest, timeout_s: float | None) -> Answer | None:
    """Push a harmless job and return its end; None if it does not come within `timeout_s` (None: no limit)."""
    jid = _push(client, order)
    details = _wait(client, order.queue, jid, timeout_s, is_explained=True)
    return None if details is None else Answer(jid, read_reply(details), details)


def print_refusal(answer: Answer) -> NoReturn:
    """Print why a job was not done, for a reason that the other program does not have; end the command with 1 or 4."""
    error = answer.details.get("error")
    if isinstance(error, Mapping):
        output.say(f"{error.get('code')}: {error.get('message')}")
        if error.get("cure"):
            output.say(str(error.get("cure")))
    output.say(f"The job {answer.jid} was not done; it is dead (restbroker dead show {answer.jid}).")
    raise typer.Exit(no(answer.answered.outcome, answer.answered.code))


def remove_refused(client: Client, answer: Answer) -> None:
    """Remove the job of a refusal from the dead set, since the person learns of it now."""
    if answer.answered.is_done or answer.answered.outcome in _KEPT:
        return
    try:
        ctl.remove_refused(client, answer.jid, who())
    except (StoreUnavailable, StoreRefused) as error:
        output.say(f"note: the job {answer.jid} stays in the dead set: {error.message}")


def secret_of(path: Path) -> str:
    """Return the content of a file, or of standard input for `-`, without its last line break.

    Raise `UsageError` if it cannot be read.
    """
    try:
        raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return text_of(raw).removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UsageError(f"--secret-file cannot be read: {error.strerror} ({path}).", "Check its path.") from error
    except ValueError as error:
        raise UsageError(f"The content of --secret-file cannot be read: {error}.", "Convert it first.") from None


def _push(client: Client, order: JobRequest) -> str:
    jid = secrets.token_hex(12)
    push(client, order, jid, time.time())
    return jid


def _wait(
    client: Client, queue: str, jid: str, timeout_s: float | None, *, is_explained: bool
) -> Mapping[str, Json] | None:
    """Return the answer, or None if it does not come in time; print once why the server gets no jobs, after a while."""
    ends_s = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        remaining_s = _ROUND_S if ends_s is None else max(ends_s - time.monotonic(), 0.0)
        details = wait(client, jid, remaining_s if is_explained else min(remaining_s, _PATIENCE_S))
        if details is not None:
            return details
        found = None if is_explained else find_process_if_known(client, queue)
        if found is not None and found.hindrance is not None:
            output.say(f"The server gets no jobs now; this one waits for it: {found.hindrance}")
            is_explained = True
        if ends_s is not None and time.monotonic() >= ends_s:
            return None
