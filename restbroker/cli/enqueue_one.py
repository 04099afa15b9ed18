"""One job of `restbroker enqueue` or `ctl`: its words, its token, the push, and the wait for its answer.

Always holds: nothing is pushed if the command line has a mistake in it, and no value of an argument is shown; if no
answer comes, the job's id is printed, and that it is queued; neither Trio nor an HTTP client is imported.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

import attrs
import typer

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.config.values import duration_text
from restbroker.console import arguments, output
from restbroker.console.exits import Exit, no
from restbroker.console.times import local
from restbroker.errors import OutputLost, StoreRefused, StoreUnavailable, UsageError
from restbroker.job import claims
from restbroker.job.coerce import coerce
from restbroker.job.command import Command, CommandSpec
from restbroker.job.json_types import Json
from restbroker.light import field, frozen
from restbroker.operate.connect import open_store
from restbroker.operate.enqueue import (
    AnswerWait,
    JobRequest,
    QueuedBefore,
    ServingProcess,
    find_process_if_known,
    pause_of,
    push,
    waiting_notes,
)
from restbroker.operate.request import Signatures, access_of, allowing_token, best_fit, signatures_of

_ANSWER_S = 2.0
"""How many seconds behind its expiry a job's answer may come, or say that it expired."""
_DEAD: Final = frozenset({"rejected", "failed", "uncertain", "cancelled"})
"""Outcomes after which a job of this command is in the dead set: it never has `"dead": false`."""


@frozen
class OneJob:
    """One command that is to be pushed to a queue of `target`. `request`: all of it but its arguments and token."""

    settings: Config
    target: Target
    request: JobRequest
    any_command: bool = field(kw_only=True)

    def push(self, words: Sequence[str], *, timeout_s: float, as_json: bool) -> None:
        """Push it with the arguments that were typed as `words`; print its id or the answer, and end the command.

        Raise `UsageError` if an argument is wrong, and `StoreUnavailable` or `StoreRefused`.
        """
        typed = arguments.read(words)
        settings, queue, target = self.settings, self.request.queue, self.target.name
        jid = os.urandom(12).hex()
        with open_store(settings) as client:
            # Asked first: were it asked after the push, its failure would look like the push's.
            try:
                found = find_process_if_known(client, queue)
            except StoreUnavailable:
                self._request(typed, None)  # a mistake in the command line is one without Redis, too
                raise
            request = self._request(typed, found)
            paused = pause_of(client, queue, target) if request.at_s is None else None
            for note in (notes := [*waiting_notes(found, paused, queue)]):
                output.say(note)
            other = push(client, request, jid, pushed_at_s := time.time())
            if other is not None:
                _print_queued(request, other, as_json=as_json)
            with _require_report(jid):
                if not request.wants_reply:
                    output.as_json({"jid": jid}) if as_json else output.data(jid)
                    return
                if request.at_s is not None and request.at_s - pushed_at_s >= timeout_s:
                    due = local(request.at_s)
                    output.say(f"note: it runs at {due}; --wait gives up after {duration_text(timeout_s)}.")
                waiting = AnswerWait(client, settings, self.target, request, jid, pushed_at_s, output.say, local)
                if waiting.expires_at_s is not None:
                    timeout_s = min(timeout_s, max(0.0, waiting.expires_at_s - time.time()) + _ANSWER_S)
                details = answer_or_end(waiting, timeout_s, is_explained=bool(notes), as_json=as_json)
                _print_answer(jid, details, as_json=as_json)

    def _request(self, typed: arguments.TypedArguments, found: ServingProcess | None) -> JobRequest:
        """Return the job for the server's version that `found` says. Raise `UsageError` if it takes no such arguments.

        End the command with 4 if no token allows it.
        """
        target, queue, command = self.target, self.request.queue, self.request.command
        version = None if found is None else found.server_version
        signatures = signatures_of(target, version, command, any_command=self.any_command)
        spec, values = fit_arguments(signatures, typed, target.default_host, any_command=self.any_command)
        token = token_of(self.settings.tokens, target, queue, spec=spec, command=Command(command, values))
        lock = self.request.lock
        if lock is not None:
            lock = attrs.evolve(lock, name=claims.lock_name(target.name, token.name, lock.key))
        return attrs.evolve(self.request, arguments=values, token=token, lock=lock)


def fit_arguments(
    signatures: Signatures, typed: arguments.TypedArguments, default_host: str | None, *, any_command: bool = False
) -> tuple[CommandSpec | None, Mapping[str, Json]]:
    """Return the form of the command that takes these arguments, and the arguments as it takes them.

    If none takes them, raise `UsageError`, or print a note with `any_command`. The command is None if it is not known.
    """
    fit = best_fit(signatures, typed.values, default_host)
    if fit is None:
        if not any_command:
            output.say(
                f"note: restbroker knows no command {signatures.command} of {signatures.server}: it is passed on as it "
                "is, and the job dies if the server has none either."
            )
        return None, typed.values
    spec, reason = fit.spec, fit.reason
    values = _coerced_where_it_can_be(spec, typed.values) if any_command else coerce(spec, typed.values)
    if reason is not None and not any_command:
        lists = f"`restbroker commands {spec.name}` lists what each version takes; --any queues it as it is."
        raise UsageError(reason, f"This is how {signatures.server} takes it. {lists}")
    # Behind the refusal: what a mistyped name holds is advised on when it has the right one.
    arguments.note_secrets(spec, typed)
    _note_addresses(spec, values, default_host)
    if reason is not None:
        output.say(f"note: {reason}")
    return spec, values


def _coerced_where_it_can_be(spec: CommandSpec, given: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the arguments as the command takes them; those that it does not take are unchanged."""
    values = dict(given)
    for name, value in given.items():
        with suppress(UsageError):
            values |= coerce(spec, {name: value})
    return values


def _note_addresses(spec: CommandSpec, values: Mapping[str, Json], default_host: str | None) -> None:
    """Note an address that is a bare name: servers take it for a domain, and some say that all went well."""
    for name, value in values.items():
        argument = spec.argument(name)
        if argument is None or argument.host_source != "jid" or not isinstance(value, str):
            continue
        if value and not {"@", "."} & {*value} and value not in ("localhost", default_host):
            account = f"NAME@{default_host or 'HOST'}"
            output.say(
                f"note: {name} has no @ and no dot: servers take it for a domain. An account's address is {account}."
            )


def token_of(tokens: Sequence[Token], target: Target, queue: str, spec: CommandSpec | None, command: Command) -> Token:
    """Return the first token that allows the command there; if none does, print what to configure and exit with 4."""
    found = allowing_token(tokens, access_of(target, queue, spec=spec, command=command))
    if isinstance(found, Token):
        return found
    if len(found) > 1:
        output.say(f"None of the {len(found)} tokens allows this. Nothing was queued.")
    for reason in found:
        output.say(f"{reason.code}: {reason.message}", reason.hint)
    raise typer.Exit(Exit.REFUSED)


def answer_or_end(
    waiting: AnswerWait, timeout_s: float | None, *, is_explained: bool, as_json: bool = False
) -> Mapping[str, Json]:
    """Return the answer to the job; without one, print what became of the job and end with an exit code of its own.

    `timeout_s` None: no limit. `is_explained`: it was said why the job will wait.
    """
    jid = waiting.jid
    try:
        details = waiting.answer(timeout_s, is_explained=is_explained)
        if details is not None:
            return details
        then = [*_situation(waiting)]
    except KeyboardInterrupt:
        output.say(f"The job {jid} was queued and goes on. `restbroker explain {jid}` says where it is.")
        raise typer.Exit(128 + signal.SIGINT) from None
    except (StoreUnavailable, StoreRefused) as error:
        # Otherwise a user who sees only this error would push it again.
        output.say(f"The job {jid} was queued: do not push it again. restbroker cannot wait for its answer.")
        output.say(error.message, error.hint)
        told: Json = {"code": "NoAnswer", "message": error.message, "cure": error.hint}
        if as_json:
            output.as_json({"jid": jid, "outcome": "queued", "error": told})
        raise typer.Exit(Exit.WAITING) from None
    after = "" if timeout_s is None else f" after {duration_text(timeout_s)}"
    again = " Do not push it again." if waiting.expires_at_s is None else ""
    output.say(f"The job {jid} is not done{after}.{again} `restbroker explain {jid}` says more.")
    for line in then:
        output.say(line)
    if as_json:
        output.as_json({"jid": jid, "outcome": "queued"})
    raise typer.Exit(Exit.WAITING)


def _print_queued(request: JobRequest, other: QueuedBefore, *, as_json: bool) -> NoReturn:
    """Say that nothing was queued, since the job `other` has the key, and end the command."""
    jid, holder = other.jid, other.certainty
    answer = ", whose answer goes to the one who queued it" if request.wants_reply else ""
    output.say(f"already queued as {jid} ({holder}){answer}; nothing was queued.")
    output.as_json({"jid": jid, "outcome": "queued before", "holder": holder}) if as_json else output.data(jid)
    raise typer.Exit(Exit.WAITING if request.wants_reply else Exit.OK)


@contextmanager
def _require_report(jid: str) -> Iterator[None]:
    """Run the block, which reports a pushed job on stdout; if that cannot be written, say on stderr that it was pushed.

    End the command with 6 then: otherwise a user who sees only a full disk would push the job again.
    """
    try:
        with output.require_written():
            yield
    except OutputLost as error:
        output.say(f"The job {jid} was queued, do not push it again. {error.message}")
        raise typer.Exit(Exit.WAITING) from None


def _print_answer(jid: str, details: Mapping[str, Json], *, as_json: bool) -> NoReturn:
    """Print the answer, or everything that is known of it, and end with its exit code."""
    error = details.get("error")
    if as_json:
        output.as_json(details)
    elif error is None:
        output.data(*_plain(details).split("\n"))  # nothing else is on stdout: its lines are the answer's
        if details.get("outcome") == "negative" and sys.stdout.isatty():
            output.say("note: The server's answer is no.")
    if str(details.get("note")).startswith("already done"):
        output.say("note: it was done before, which counts as done.")
    code = error.get("code") if isinstance(error, Mapping) else None
    if isinstance(error, Mapping):
        parts = (f"{code}: {error.get('message')}", error.get("cure"))
        output.say(*(str(part) for part in parts if part))
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


def _situation(waiting: AnswerWait) -> Iterator[str]:
    from restbroker.cli.explain_job import situation  # slow to load, and of no use to a job whose answer comes

    with suppress(StoreRefused):
        yield from situation(waiting.client, waiting.jid, waiting.settings)
