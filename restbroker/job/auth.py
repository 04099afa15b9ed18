"""What a token allows: which command, on which target, queue and hosts, and whether it touches the server itself.

The broker's admission calls it for each job, `restbroker enqueue` before it pushes one. Always holds: a refusal names
the token (never its secret), what was refused, and what to put into the configuration.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, Protocol

from restbroker.job.command import DANGEROUS, Command, CommandSpec
from restbroker.job.endpoint import quote
from restbroker.job.json_types import Json
from restbroker.job.reason import Reason
from restbroker.light import frozen

NEVER_EDITED: Final = frozenset({"BadToken", "BadSignature", "SignatureNeeded", "UntimelySignature"})
"""A job that failed with one of these was not let in, and no edit lets it in."""


class Grant(Protocol):
    """What a token allows: commands, hosts, targets and queues by patterns.

    No patterns for hosts, targets or queues: any of them is allowed.
    """

    @property
    def name(self) -> str: ...  # noqa: D102  see above
    @property
    def allow(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def hosts(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def targets(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def queues(self) -> tuple[str, ...]: ...  # noqa: D102


@frozen
class AccessRequest:
    """A job's request, and facts about it. `spec`: the command in the catalogue; None outside of it.

    `dangerous`: the segments of its endpoint that are dangerous commands, each with what of the server itself it
    touches (`Catalogue.dangerous_in`). `default_host` fills a missing `host`. `target` and `queue` are where the job
    goes.
    """

    command: Command
    spec: CommandSpec | None
    dangerous: Mapping[str, frozenset[str]]
    default_host: str | None
    target: str
    queue: str


def refusal(grant: Grant, request: AccessRequest) -> Reason | None:
    """Return why the token does not allow this job; None if it does."""
    command = request.command
    refused = place_refusal(grant, request.target, request.queue)
    refused = refused or command_refusal(grant, command.endpoint, request.spec, request.dangerous)
    return refused or argument_refusal(grant, command, request.spec, request.default_host)


def place_refusal(grant: Grant, target: str, queue: str) -> Reason | None:
    """Return the part of `refusal` that depends on where the job was pushed; None if target and queue are allowed."""
    if grant.targets and not _fits(target, grant.targets):
        return Reason(
            "TargetNotAllowed",
            f'The token "{grant.name}" does not allow jobs for the target {target}.',
            "Push with a token that allows it, or add the target to the token's Targets in Tokens.",
        )
    if grant.queues and not _fits(queue, grant.queues):
        return Reason(
            "QueueNotAllowed",
            f'The token "{grant.name}" does not allow jobs in the queue {quote(queue)}.',
            "Push with a token that allows it, or add the queue to the token's Queues in Tokens.",
        )
    return None


def reaches(grant: Grant, target: str, queues: Sequence[str]) -> bool:
    """Tell whether the token allows jobs in any of these queues of the target."""
    return any(place_refusal(grant, target, queue) is None for queue in queues)


def _fits(name: str, patterns: Sequence[str]) -> bool:
    # A queue's name may hold a bracket, which stands for itself.
    return any(fnmatchcase(name, pattern.replace("[", "[[]")) for pattern in patterns)


def command_refusal(
    grant: Grant, endpoint: str, spec: CommandSpec | None, dangerous: Mapping[str, frozenset[str]]
) -> Reason | None:
    """Return the part of `refusal` that is the same for all jobs of an endpoint; None if the command is allowed."""
    return _refuse_dangerous(grant, endpoint, dangerous) or _refuse_name(grant, _name(endpoint, spec), dangerous)


def decides_by_arguments(grant: Grant, spec: CommandSpec | None) -> bool:
    """Tell whether `argument_refusal` may refuse some jobs of an endpoint and let others in."""
    return bool(grant.hosts) or (spec is not None and spec.dangerous_in is not None)


def argument_refusal(
    grant: Grant, command: Command, spec: CommandSpec | None, default_host: str | None
) -> Reason | None:
    """Return the part of `refusal` that depends on a job's arguments; None if these are allowed."""
    if spec is not None and spec.dangerous_in is not None:
        refused = _refuse_dangerous(grant, command.endpoint, spec.dangerous_in(command.arguments))
        if refused is not None:
            return refused
    return _refuse_hosts(grant, command, spec, default_host)


def _refuse_hosts(grant: Grant, command: Command, spec: CommandSpec | None, default_host: str | None) -> Reason | None:
    if not grant.hosts:
        return None
    from restbroker.job import hosts  # it loads tables of Unicode, and few tokens are bound to hosts

    name = _name(command.endpoint, spec)
    if spec is None:
        named: dict[str, str] | hosts.HostsUnclear = hosts.HostsUnclear("it is not in the catalogue")
    else:
        named = hosts.hosts_of(spec, command.arguments, default_host)
    if isinstance(named, hosts.HostsUnclear):
        if spec is not None and (wrong := _unknown_argument(spec, command.arguments, default_host)) is not None:
            return wrong
        otherwise = "" if spec is not None and spec.beyond else ", or name the host in the command's own arguments"
        return Reason(
            "HostNotAllowed",
            f'The token "{grant.name}" is bound to hosts, but restbroker cannot tell which hosts {name} is about:'
            f" {named.why}.",
            f"Push with a token without Hosts{otherwise}.",
        )
    patterns = [hosts.plain(pattern) for pattern in grant.hosts]
    foreign = sorted(host for host in named if not any(fnmatchcase(host, pattern) for pattern in patterns))
    if not foreign:
        return None
    return Reason(
        "HostNotAllowed",
        f'The token "{grant.name}" does not allow {name} on the host {quote(named[foreign[0]])}.',
        "Add the host to the token's Hosts in Tokens, or push with a token that allows it.",
    )


def _unknown_argument(spec: CommandSpec, given: Mapping[str, Json], default_host: str | None) -> Reason | None:
    """Return the refusal of a job with an argument that no version which the server may be takes; None without one."""
    from restbroker.job.argument_check import Checker  # as above

    forms = [Checker(form, {}, default_host) for form in (spec, *spec.others)]
    wrong = forms[0].names(given)
    if wrong is None or not all(any(form.takes_no(name) for name in given) for form in forms):
        return None
    hint = f"This is how the server's version takes it: `restbroker commands {spec.name}` lists what each takes."
    return Reason("BadArgument", wrong, hint)


def _name(endpoint: str, spec: CommandSpec | None) -> str:
    return endpoint.partition("/")[0] if spec is None else spec.name


def _refuse_dangerous(grant: Grant, endpoint: str, dangerous: Mapping[str, frozenset[str]]) -> Reason | None:
    dared = [pattern.removeprefix(DANGEROUS) for pattern in grant.allow if pattern.startswith(DANGEROUS)]
    for segment, words in dangerous.items():
        if words <= set(dared) or any(fnmatchcase(segment, pattern) for pattern in dared):
            continue
        where = "" if endpoint.partition("/")[0] == segment else f" (in {endpoint})"
        return Reason(
            "DangerousCommand",
            f"{segment}{where} controls the server itself (tagged {', '.join(sorted(words))}), and the token "
            f'"{grant.name}" does not allow that.',
            f'If jobs should do that, give them a token in Tokens with "{DANGEROUS}{segment}" in its Allow '
            '(`restbroker token new` shows the form); "*" never includes it.',
        )
    return None


def _refuse_name(grant: Grant, name: str, dangerous: Mapping[str, frozenset[str]]) -> Reason | None:
    if name in dangerous or any(fnmatchcase(name, pattern) for pattern in grant.allow):
        return None
    return Reason(
        "CommandNotAllowed",
        f'The token "{grant.name}" does not allow the command {name}.',
        f'Add "{name}" to the token\'s Allow in Tokens, or push with a token that allows it.',
    )
