"""How `restbroker enqueue --wait` waits: for the answer to one pushed job, which it prints with its exit code.

Always holds: if the answer does not come, the job's id is printed, and that it is queued; neither Trio nor an HTTP
client is imported.
"""

import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NoReturn

import attrs
import typer

from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import output
from restbroker.console.exits import Exit, no
from restbroker.console.times import local
from restbroker.errors import OutputLost, StoreRefused, StoreUnavailable
from restbroker.job.json_types import Json
from restbroker.operate.enqueue import find_process_if_known, pause_of, wait
from restbroker.store.client import Client

_ANSWER_S = 2.0
"""How many seconds behind its expiry a job's answer may come, or say that it expired."""
_DEAD: Final = frozenset({"rejected", "failed", "uncertain", "cancelled"})
"""Outcomes after which a job of this command is in the dead set: it never has `"dead": false`."""
_PATIENCE_S = 2.0
"""How many seconds to print nothing while waiting: a process reports that a target is down at most 2.5 s later."""


@contextmanager
def require_report(jid: str) -> Iterator[None]:
    """Run the block, which reports a pushed job on stdout; if that cannot be written, say on stderr that it was pushed.

    End the command with 6 then: anyone who saw only a full disk would push the job again.
    """
    try:
        with output.require_written():
            yield
    except OutputLost as error:
        output.say(f"The job {jid} was queued, do not push it again. {error.message}")
        raise typer.Exit(Exit.WAITING) from None


@attrs.frozen(kw_only=True)
class AnswerWait:
    """The wait for one pushed job. `target`: the name of the queue's.

    `key`: by which it is kept in order; "": it is not. `expires_at_s`: when it expires (epoch seconds); None: no
    --expire was given.
    """

    client: Client
    settings: Config
    queue: str
    target: str
    jid: str
    key: str
    expires_at_s: float | None
    as_json: bool

    def answer(self, timeout_s: float, *, is_explained: bool) -> Mapping[str, Json]:
        """Return the answer to the job; without one, print what became of the job and end with an exit code of its own.

        `is_explained`: it was said that the server gets no jobs.
        """
        if self.expires_at_s is not None:
            timeout_s = min(timeout_s, max(0.0, self.expires_at_s - time.time()) + _ANSWER_S)
        try:
            details = self._wait(timeout_s, is_explained=is_explained)
            if details is not None:
                return details
            then = self._state()
        except KeyboardInterrupt:
            output.say(f"The job {self.jid} was queued and goes on. `restbroker explain {self.jid}` says where it is.")
            raise typer.Exit(128 + signal.SIGINT) from None
        except (StoreUnavailable, StoreRefused) as error:
            # Anyone who saw this error only would push the job again.
            output.say(
                f"The job {self.jid} was queued: do not push it again. restbroker cannot wait for its answer.\n{error}"
            )
            self._print_queued({"code": "NoAnswer", "message": error.message, "cure": error.hint})
            raise typer.Exit(Exit.WAITING) from None
        output.say(
            f"The job {self.jid} is not done after {duration_text(timeout_s)}: {then}.\n"
            f"`restbroker explain {self.jid}` says more."
        )
        self._print_queued(None)
        raise typer.Exit(Exit.WAITING)

    def _wait(self, timeout_s: float, *, is_explained: bool) -> Mapping[str, Json] | None:
        """Return the answer, or None if it does not come in time; after a while say once what the job waits for."""
        deadline_s, is_held_told = time.monotonic() + timeout_s, not self.key
        while True:
            remaining_s, is_told = max(deadline_s - time.monotonic(), 0.0), is_explained and is_held_told
            details = wait(self.client, self.jid, remaining_s if is_told else min(remaining_s, _PATIENCE_S))
            if details is not None:
                return details
            found = None if is_explained else find_process_if_known(self.client, self.queue)
            if found is not None and found.hindrance is not None:
                output.say(f"The server gets no jobs now: {found.hindrance}")
                is_explained = True
            if not is_held_told:
                from restbroker.cli import unanswered

                held = unanswered.held_text(self.client, self.settings, self.target, self.key, jid=self.jid)
                is_held_told = held is not None
                output.say(held) if held is not None else None
            if time.monotonic() >= deadline_s:
                return None

    def _state(self) -> str:
        """Return what is true of the job now, as the second half of a sentence. Raise `StoreUnavailable`."""
        # Of no use to the commands that get their answer: they start sooner without it.
        from restbroker.cli import unanswered

        if self.expires_at_s is not None and time.time() >= self.expires_at_s:
            return unanswered.look_up(self.client, self.settings, self.jid, is_expired=True)
        found = find_process_if_known(self.client, self.queue)
        paused = pause_of(self.client, self.queue, self.target)
        once = (
            "" if found is not None and not found.quiet else f" once a process takes jobs from the queue {self.queue}"
        )
        if found is not None and not found.quiet and found.hindrance is not None:
            once = " once its target gets jobs again"
        if paused is not None:
            once = f" once the {paused.what} {paused.name} is resumed"
        then = unanswered.look_up(self.client, self.settings, self.jid, once)
        return then if self.expires_at_s is None else f"{then}, unless it expires before, at {local(self.expires_at_s)}"

    def _print_queued(self, error: Json) -> None:
        if self.as_json:
            told: dict[str, Json] = {"jid": self.jid, "outcome": "queued"}
            output.as_json(told if error is None else told | {"error": error})


def print_answer(jid: str, details: Mapping[str, Json], *, as_json: bool) -> NoReturn:
    """Print the answer, or everything that is known of it, and end with its exit code."""
    error = details.get("error")
    if as_json:
        output.as_json(details)
    elif error is None:
        output.data(_plain(details))
        if details.get("outcome") == "negative" and sys.stdout.isatty():
            output.say("note: The server's answer is no.")
    if str(details.get("note")).startswith("already done"):
        output.say("note: it was done before; this counts as done.")
    code = error.get("code") if isinstance(error, Mapping) else None
    if isinstance(error, Mapping):
        parts = (f"{code}: {error.get('message')}", error.get("cure"))
        output.say("\n".join(str(part) for part in parts if part))
    outcome = details.get("outcome")
    if outcome in _DEAD:
        output.say(f"The job {jid} is dead. `restbroker explain {jid}` says what you can do.")
    if outcome == "delivered":
        raise typer.Exit(Exit.OK)
    raise typer.Exit(no(str(outcome), str(code)))


def _plain(details: Mapping[str, Json]) -> str:
    """Return the answer as a script wants it: a number or a string alone, anything else as the server sent it.

    A number or string is also taken out of the envelope that ejabberd up to 23.10 puts it in (`{"num_sessions":3}`).
    """
    answer = details.get("answer")
    if isinstance(answer, Mapping) and len(answer) == 1:
        (answer,) = answer.values()
    if isinstance(answer, str | int | float) and not isinstance(answer, bool):
        return str(answer)
    return str(details.get("text"))
