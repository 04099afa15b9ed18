"""From periodic commands as they are configured to the jobs that they become.

Called when a configuration is loaded for `run` and `check`, and by the broker, `restbroker periodic` and the pages for
the jobs. Always holds: a command is checked as `enqueue` checks it, before anything starts; neither a server nor Redis
is used.
"""

from collections.abc import Iterator
from typing import Final

import attrs

from restbroker.config.core import Config
from restbroker.config.periodic import PeriodicCommand
from restbroker.config.problems import Problems, at
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.console.order import access_of, best_fit, signatures_of, target_of
from restbroker.errors import UsageError
from restbroker.job import claims
from restbroker.job.auth import refusal
from restbroker.job.claims import Lock
from restbroker.job.coerce import coerce
from restbroker.job.command import Command, CommandSpec
from restbroker.job.json_types import Json
from restbroker.operate.enqueue import JobRequest, payload
from restbroker.operate.periodic import PeriodicRequest

_KEEP_S: Final = 86_400.0
"""How long at most a job that is lost holds the next ones back: someone deleted it from its queue."""
_SOME_JID: Final = "0" * 24


class _WrongMember(Exception):
    """What `member` of a periodic command says cannot be used."""

    def __init__(self, member: str, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.member = member
        self.text = f"{why} {hint}".rstrip()


def check_periodic(config: Config, problems: Problems) -> None:
    """Add a problem for each periodic command that can be no job: its command, arguments, target, queue or token."""
    for command in config.periodic:
        try:
            _request(config, command)
        except _WrongMember as wrong:
            problems.add(at(at("Periodic", command.name), wrong.member), wrong.text)


def periodic_requests(config: Config) -> Iterator[PeriodicRequest]:
    """Yield each periodic command of a checked configuration with the job that it becomes."""
    for command in config.periodic:
        try:
            yield PeriodicRequest(command, *_request(config, command))
        except _WrongMember as wrong:
            raise UsageError(f"Periodic.{command.name}.{wrong.member}: {wrong.text}") from None


def _request(config: Config, one: PeriodicCommand) -> tuple[str, JobRequest]:
    """Return the name of the target, and the job; raise `_WrongMember`."""
    target = _target(config, one)
    queue = one.queue or target.queues[0]
    if queue not in target.queues:
        serves = ", ".join(target.queues)
        raise _WrongMember("Queue", f"The target {target.name} does not serve it, but {serves}.")
    spec, values = _fitting(target, one)
    token = _token(config, target, queue, spec=spec, one=attrs.evolve(one, arguments=values))
    lock = None
    if one.overlap == "skip":
        key = f"periodic {one.name}"
        lock = Lock(claims.lock_name(target.name, token.name, key), key, _KEEP_S)
    order = JobRequest(one.command, values, queue, token, retry=one.retry, expire_s=one.expire_s, lock=lock)
    try:
        payload(order, _SOME_JID, 0.0)
    except UsageError as error:
        raise _WrongMember("Arguments", error.message) from None
    return target.name, order


def _target(config: Config, one: PeriodicCommand) -> Target:
    try:
        return target_of(config.targets, one.target, one.queue, one.command)
    except UsageError as error:
        known = ", ".join(target.name for target in config.targets)
        member = "Command" if one.target is None else "Target"
        raise _WrongMember(member, error.message, f"Name one of these in Target: {known}.") from None


def _fitting(target: Target, one: PeriodicCommand) -> tuple[CommandSpec | None, dict[str, Json]]:
    """Return the command of the newest version that takes the arguments, and these in the form it takes."""
    try:
        signatures = signatures_of(target, None, one.command, any_command=False)
    except UsageError as error:
        hint = f"`restbroker commands --target {target.name}` lists those that are known."
        raise _WrongMember("Command", error.message, hint) from None
    fit = best_fit(signatures, one.arguments, target.default_host)
    if fit is None:
        return None, dict(one.arguments)
    if fit.reason is not None:
        hint = f"`restbroker commands {fit.spec.name}` lists what it takes."
        raise _WrongMember("Arguments", fit.reason, hint)
    return fit.spec, dict(coerce(fit.spec, one.arguments))


def _token(config: Config, target: Target, queue: str, spec: CommandSpec | None, *, one: PeriodicCommand) -> Token:
    """Return the token that is named, or the first that allows the command."""
    named = [token for token in config.tokens if one.token in (None, token.name)]
    if not named:
        known = ", ".join(token.name for token in config.tokens)
        raise _WrongMember("Token", "There is no token of this name.", f"These are configured: {known}.")
    wish = access_of(target, queue, spec=spec, command=Command(one.command, one.arguments))
    reasons = [(token, refusal(token, wish)) for token in named]
    for token, reason in reasons:
        if reason is None:
            return token
    texts = " ".join(f"{reason.message} {reason.hint or ''}".strip() for _, reason in reasons if reason is not None)
    raise _WrongMember("Token" if one.token is not None else "Command", texts)
