"""From a command and its arguments to the job that is pushed: which target, which of its versions, which token.

Called by `enqueue`, `ctl` and `--bulk`, and for periodic commands when a configuration is loaded, by the broker, by
`restbroker periodic` and the pages. Always holds: neither a server nor Redis is used, and no value is shown; a periodic
command is checked as `enqueue` checks one, before anything starts.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from restbroker.config.core import Config
from restbroker.config.problems import Problems, at
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.errors import UsageError
from restbroker.job import claims, endpoint
from restbroker.job.argument_check import Checker
from restbroker.job.auth import AccessRequest, refusal
from restbroker.job.claims import Lock
from restbroker.job.coerce import coerce
from restbroker.job.command import Command, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.reason import Reason
from restbroker.kinds import FLAT
from restbroker.light import frozen
from restbroker.operate.enqueue import JobRequest, payload
from restbroker.operate.names import listed, require, suggestion
from restbroker.servers import registry

if TYPE_CHECKING:  # slow to load, and `enqueue` needs none of it
    from restbroker.config.periodic import PeriodicCommand

_KEEP_S: Final = 86_400.0
"""How long at most a job that is lost holds the next ones back: someone deleted it from its queue."""
_SOME_JID: Final = "0" * 24


def target_of(targets: Sequence[Target], name: str | None, queue: str | None, command: str) -> Target:
    """Return the target `name`; else the one that serves the queue, the only one with the command, or the flat one.

    Raise `UsageError` if there is no such target, or the command does not decide which one.
    """
    if name is not None:
        require("target", name, [target.name for target in targets])
        return next(target for target in targets if target.name == name)
    serves = [target for target in targets if queue is not None and queue in target.queues]
    if len(serves) == 1 or len(targets) == 1:
        return [*serves, *targets][0]
    able = [target for target in targets if has_command(target, command)]
    flat = [target for target in targets if target.name == FLAT]
    chosen = able if len(able) == 1 else flat
    if not chosen:
        raise _unserved(targets, queue) or _ambiguous(targets, command)
    return chosen[0]


def has_command(target: Target, command: str) -> bool:
    """Tell whether the target's server, or a version of it that it may be, has the command."""
    catalogue = registry.catalogue_of(target, None, command)
    return catalogue.name_in(command) in catalogue.commands


def access_of(target: Target, queue: str, spec: CommandSpec | None, command: Command) -> AccessRequest:
    """Return what a token must allow for the command in this queue of the target."""
    dangers = registry.catalogue_of(target, None, command.endpoint).dangerous_in(command.endpoint)
    return AccessRequest(command, spec, dangers, default_host=target.default_host, target=target.name, queue=queue)


def allowing_token(tokens: Sequence[Token], access: AccessRequest) -> Token | list[Reason]:
    """Return the first token that allows this; if none does, each one's reason."""
    reasons: list[Reason] = []
    for token in tokens:
        reason = refusal(token, access)
        if reason is None:
            return token
        reasons.append(reason)
    return reasons


@frozen
class Signatures:
    """What a command takes: in the form of the server's `version`, and in those of others if it is not known exactly.

    There is none if nothing is known of it.
    """

    kind: str
    command: str
    version: str
    forms: Sequence[CommandSpec]

    @property
    def server(self) -> str:
        """The server's kind and version, for people."""
        return f"{self.kind} {self.version}".strip()

    @property
    def spec(self) -> CommandSpec | None:
        """What the server's version takes; None if nothing is known of it."""
        return next(iter(self.forms), None)


def signatures_of(target: Target, found: str | None, command: str, *, any_command: bool) -> Signatures:
    """Return the command's signatures at this target; `found` is the version that a running process found there.

    Raise `UsageError` for a malformed name and, without `any_command`, for an unknown one if the catalogue is complete,
    has a similar name, or names a replacement. Otherwise nothing is known of it.
    """
    refused = endpoint.check(command)
    if not isinstance(refused, str):
        raise UsageError(refused.message, refused.hint)
    catalogue = registry.catalogue_of(target, found, command)
    name = catalogue.name_in(command)
    spec = catalogue.commands.get(name)
    signatures = Signatures(target.kind, name, catalogue.version, () if spec is None else (spec, *spec.others))
    if any_command:
        return signatures
    if instead := catalogue.unavailable.get(name):
        raise UsageError(f"The target {target.name} has no command {command}.", instead)
    if spec is not None:
        return signatures
    near = get_close_matches(name, sorted(catalogue.commands), n=3)
    if near or catalogue.is_whole:
        meant = f"; did you mean {endpoint.either(near)}?" if near else "."
        known = f"`restbroker commands --target {target.name}` lists them all."
        hint = known if catalogue.is_whole else "If you mean exactly this name, add --any."
        raise UsageError(f"There is no command {name!r}{meant}", hint)
    return signatures


@frozen
class Fit:
    """The first form of a command that takes some arguments; if none does, that of the server's version.

    `reason`: why even this form does not take the arguments; None if it does.
    """

    spec: CommandSpec
    reason: str | None


def best_fit(signatures: Signatures, values: Mapping[str, Json], default_host: str | None) -> Fit | None:
    """Return the form that fits these arguments best; None if nothing is known of the command."""
    fits = [Fit(spec, _reason(spec, values, default_host)) for spec in signatures.forms]
    return next((fit for fit in fits if fit.reason is None), fits[0] if fits else None)


def _reason(spec: CommandSpec, given: Mapping[str, Json], default_host: str | None) -> str | None:
    """Return why the command does not take these arguments; None if it does."""
    wrong = Checker(spec, {}, default_host).names(given)
    if wrong is not None:
        return wrong
    try:
        coerce(spec, given)
    except UsageError as error:
        return error.message
    needed = (argument.name for argument in spec.arguments if argument.nonempty)
    empty = next((name for name in needed if given.get(name) == ""), None)
    return None if empty is None else f"{empty} is empty."


def _unserved(targets: Sequence[Target], queue: str | None) -> UsageError | None:
    """Return the error that says that no target serves the queue; None if one does, or if no queue was named."""
    served = {name for target in targets for name in target.queues}
    if queue is None or queue in served:
        return None
    return UsageError(f"No target serves the queue {queue!r}.", suggestion(queue, served))


def _ambiguous(targets: Sequence[Target], command: str) -> UsageError:
    """Return the error that says why none of several targets is chosen."""
    word = command.partition("/")[0]
    names = listed([target.name for target in targets])
    catalogues = {target.name: registry.catalogue_of(target, None, command) for target in targets}
    known = {name for catalogue in catalogues.values() for name in catalogue.commands}
    if word in known:
        return UsageError(f"Several targets have the command {word}.", f"Name one with --target: {names}.")
    for name, catalogue in catalogues.items():
        if instead := catalogue.unavailable.get(word):
            return UsageError(f"No target has a command {word}.", f"{name}: {instead}")
    near = get_close_matches(word, sorted(known), n=3)
    meant = f"; did you mean {endpoint.either(near)}?" if near else "."
    hint = f"`restbroker commands --target NAME` lists a target's. If this is the name, choose with --target: {names}."
    return UsageError(f"No target is known to have a command {word!r}{meant}", hint)


@frozen
class PeriodicRequest:
    """A periodic command, the name of its target, and the job that it becomes."""

    command: "PeriodicCommand"
    target: str
    job: JobRequest

    @property
    def name(self) -> str:
        """The name of the command."""
        return self.command.name


class WrongMember(Exception):
    """What `member` of a periodic command, or of a source of events, says cannot be used."""

    def __init__(self, member: str, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.member = member
        self.text = f"{why} {hint}".rstrip()


@contextmanager
def blame(member: str, hint: str = "") -> Iterator[None]:
    """Raise a `UsageError` or `BadTemplate` of the block as the fault of this member, with this hint."""
    from restbroker.job.template import BadTemplate  # of no use to what pushes one job

    try:
        yield
    except (UsageError, BadTemplate) as error:
        raise WrongMember(member, getattr(error, "message", str(error)), hint) from None


def check_periodic(config: Config, problems: Problems) -> None:
    """Add a problem for each periodic command that can be no job: its command, arguments, target, queue or token.

    Note a command of which nothing is known.
    """
    for command in config.periodic:
        place = at("Periodic", command.name)
        try:
            name, _ = _request(config, command)
        except WrongMember as wrong:
            problems.refuse(at(place, wrong.member), wrong.text)
            continue
        target = target_of(config.targets, name, None, command.command)
        if not has_command(target, command.command):
            message = f"{place} has {command.command}, which is no known command of {target.kind}."
            hint = "`restbroker commands` lists them. If a module of the server adds it, all is well."
            problems.note("CommandUnknown", message, hint)


def periodic_requests(config: Config) -> Iterator[PeriodicRequest]:
    """Return each periodic command of a configuration that was checked, with the job that it becomes."""
    return (PeriodicRequest(command, *_request(config, command)) for command in config.periodic)


def _request(config: Config, one: "PeriodicCommand") -> tuple[str, JobRequest]:
    """Return the name of the target, and the job; raise `WrongMember`."""
    known = ", ".join(target.name for target in config.targets)
    with blame("Command" if one.target is None else "Target", f"Name one of these in Target: {known}."):
        target = target_of(config.targets, one.target, one.queue, one.command)
    queue = one.queue or target.queues[0]
    if queue not in target.queues:
        serves = ", ".join(target.queues)
        raise WrongMember("Queue", f"The target {target.name} does not serve it, but {serves}.")
    if one.reply_id is not None and config.response_queue is None:
        raise WrongMember("ReplyId", "has no effect without ResponseQueue, to which its answers would come.")
    spec, values = fitting(target, one.command, one.arguments)
    token = token_for(config, target, queue, spec, Command(one.command, values), one.token)
    lock = None
    if one.overlap == "skip":
        key = f"periodic {one.name}"
        lock = Lock(claims.lock_name(target.name, token.name, key), key, _KEEP_S)
    request = JobRequest(
        one.command, values, queue, token, retry=one.retry, reply_id=one.reply_id, expire_s=one.expire_s, lock=lock
    )
    with blame("Arguments"):
        payload(request, _SOME_JID, 0.0)
    return target.name, request


def fitting(target: Target, command: str, arguments: Mapping[str, Json]) -> tuple[CommandSpec | None, dict[str, Json]]:
    """Return the form of the command that takes the arguments, and these in the form it takes; raise `WrongMember`."""
    with blame("Command", f"`restbroker commands --target {target.name}` lists those that are known."):
        signatures = signatures_of(target, None, command, any_command=False)
    fit = best_fit(signatures, arguments, target.default_host)
    if fit is None:
        return None, dict(arguments)
    if fit.reason is not None:
        hint = f"`restbroker commands {fit.spec.name}` lists what it takes."
        raise WrongMember("Arguments", fit.reason, hint)
    return fit.spec, coerce(fit.spec, arguments)


def token_for(
    config: Config, target: Target, queue: str, spec: CommandSpec | None, command: Command, name: str | None
) -> Token:
    """Return the token that is named, or the first that allows the command; raise `WrongMember`."""
    named = [token for token in config.tokens if name in (None, token.name)]
    if not named:
        known = ", ".join(token.name for token in config.tokens)
        raise WrongMember("Token", "There is no token of this name.", f"These are configured: {known}.")
    found = allowing_token(named, access_of(target, queue, spec=spec, command=command))
    if isinstance(found, Token):
        return found
    texts = " ".join(f"{reason.message} {reason.hint or ''}".strip() for reason in found)
    raise WrongMember("Token" if name is not None else "Command", texts)
