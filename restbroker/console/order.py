"""Turn a command line into what `enqueue` pushes: for which target, which command and arguments, which token.

Called by `enqueue`. Always holds: neither a server nor Redis is used, and no value is shown.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Final

import attrs
import typer

from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.console import arguments, output
from restbroker.console.exits import Exit
from restbroker.errors import UsageError
from restbroker.job import endpoint
from restbroker.job.argument_check import Checker
from restbroker.job.auth import AccessRequest, refusal
from restbroker.job.coerce import coerce
from restbroker.job.command import Command, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.names import may_be_secret
from restbroker.job.reason import Reason
from restbroker.servers import registry

_MOST_NAMED: Final = 10
_NO_COMMAND: Final = "no such command"


def target_of(targets: Sequence[Target], name: str | None, queue: str | None, command: str) -> Target:
    """Return the target `name`; else the one that serves the queue, the only one with the command, or the flat one.

    Raise `UsageError` if there is no such target, or the command does not decide which one.
    """
    if name is not None:
        named = [target for target in targets if target.name == name]
        if not named:
            raise UsageError(f"There is no target {name!r}.", f"These are configured: {_names(targets)}.")
        return named[0]
    serves = [target for target in targets if queue is not None and queue in target.queues]
    if len(serves) == 1 or len(targets) == 1:
        return [*serves, *targets][0]
    word = command.partition("/")[0]
    able = [target for target in targets if has_command(target, command)]
    flat = [target for target in targets if target.name == registry.KINDS[0]]
    chosen = able if len(able) == 1 else flat
    if not chosen:
        raise _ambiguous(targets, word, command)
    return chosen[0]


def join_command_words(targets: Sequence[Target], command: str, words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the command and its arguments after joining a name that was written as two words, as for `mongooseimctl`.

    Raise `UsageError` if two words are similar to such a name.
    """
    first = words[0] if words else ""
    if " " not in command and (not first or arguments.is_assignment(first)):
        return command, words  # most often; and no catalogue is loaded to find that out
    written, left = (command.replace(" ", "."), words) if " " in command else (f"{command}.{first}", words[1:])
    dotted = [target for target in targets if registry.catalogue_of(target, None).is_dotted]
    if any(has_command(target, written) for target in dotted):
        return written, left
    known = {name for target in dotted for name in registry.catalogue_of(target, None).commands}
    if near := get_close_matches(written, sorted(known), n=3, cutoff=0.8):
        raise UsageError(f"There is no command {written!r}; did you mean {endpoint.either(near)}?", arguments.HOW)
    return command, words


def has_command(target: Target, command: str) -> bool:
    """Tell whether a version that the target's server may have has the command."""
    catalogues = registry.candidates_of(target, None, command)
    return any(catalogue.name_in(command) in catalogue.commands for catalogue in catalogues)


def access_of(target: Target, queue: str, spec: CommandSpec | None, command: Command) -> AccessRequest:
    """Return what a token must allow for the command in this queue of the target."""
    dangers = registry.catalogue_of(target, None, command.endpoint).dangerous_in(command.endpoint)
    return AccessRequest(command, spec, dangers, default_host=target.default_host, target=target.name, queue=queue)


def token_of(tokens: Sequence[Token], target: Target, queue: str, spec: CommandSpec | None, command: Command) -> Token:
    """Return the first token that allows the command there; if none does, print what to configure and exit with 4."""
    wish = access_of(target, queue, spec=spec, command=command)
    reasons: list[Reason] = []
    for token in tokens:
        reason = refusal(token, wish)
        if reason is None:
            return token
        reasons.append(reason)
    if len(reasons) > 1:
        output.say(f"None of the {len(reasons)} tokens allows this; nothing was queued.")
    for reason in reasons:
        output.say(f"{reason.code}: {reason.message}\n{reason.hint}")
    raise typer.Exit(Exit.REFUSED)


@attrs.frozen
class Signatures:
    """The specifications of a command, for each version of the server in `by_version`, the oldest first.

    None stands for a version without the command; None for all means that nothing is known of it. If it is known which
    version answers, there is only that one.
    """

    kind: str
    command: str
    by_version: Mapping[str, CommandSpec | None]

    @property
    def newest(self) -> CommandSpec | None:
        """What the newest version that has the command takes; None if none has it."""
        return next((spec for spec in reversed([*self.by_version.values()]) if spec is not None), None)

    def differences(self) -> str:
        """Return what each version takes, as `23.01 takes user; 24.12 and 26.07 take user, host`; "" if all agree."""
        versions: dict[str, list[str]] = {}
        for version, spec in self.by_version.items():
            versions.setdefault(_takes(spec), []).append(version)
        told = []
        for takes, names in versions.items():
            verb = "has" if takes == _NO_COMMAND else "takes"
            if len(names) > 1:
                verb = verb.replace("has", "have").removesuffix("s")
            told.append(f"{' and '.join(names)} {verb} {takes}")
        return "; ".join(told) if len(told) > 1 else ""


def _takes(spec: CommandSpec | None) -> str:
    if spec is None:
        return _NO_COMMAND
    names = (one.name if one.type == "string" else f"{one.name} ({one.type})" for one in spec.arguments)
    return ", ".join(names) or "nothing"


def signatures_of(target: Target, found: str | None, command: str, *, any_command: bool) -> Signatures:
    """Return the command's signatures at this target; `found` is the version that a running process found there.

    Raise `UsageError` for a malformed name and, without `any_command`, for an unknown one if the catalogue is complete,
    has a similar name, or names a replacement. Otherwise nothing is known of it.
    """
    refused = endpoint.check(command)
    if not isinstance(refused, str):
        raise UsageError(refused.message, refused.hint)
    catalogues = registry.candidates_of(target, found, command)
    newest = catalogues[-1]
    name = newest.name_in(command)
    signatures = Signatures(target.kind, name, {one.version: one.commands.get(name) for one in catalogues})
    if signatures.newest is not None or any_command:
        return signatures
    if instead := newest.unavailable.get(name):
        raise UsageError(f"The target {target.name} has no command {name}.", instead)
    near = get_close_matches(name, sorted({known for one in catalogues for known in one.commands}), n=3)
    if near or newest.is_whole:
        meant = f"; did you mean {endpoint.either(near)}?" if near else "."
        known = f"`restbroker commands --target {target.name}` lists them all."
        hint = known if newest.is_whole else "If you mean exactly this name, add --any."
        raise UsageError(f"There is no command {name!r}{meant}", hint)
    return signatures


@attrs.frozen
class Fit:
    """The newest version that takes some arguments, and its command; `reasons`: why a version does not take them.

    If none takes them, it is the newest that has the command.
    """

    version: str
    spec: CommandSpec
    reasons: Mapping[str, str | None]

    @property
    def reason(self) -> str | None:
        """Why even this version does not take the arguments; None if it does."""
        return self.reasons[self.version]


def best_fit(signatures: Signatures, values: Mapping[str, Json], default_host: str | None) -> Fit | None:
    """Return the version that fits these arguments best; None if no version has the command."""
    specs = {version: spec for version, spec in signatures.by_version.items() if spec is not None}
    if not specs:
        return None
    reasons = {version: _reason(spec, values, default_host) for version, spec in specs.items()}
    version = next((one for one in reversed(specs) if reasons[one] is None), [*specs][-1])
    return Fit(version, specs[version], reasons)


def fit_arguments(
    signatures: Signatures, typed: arguments.TypedArguments, default_host: str | None, *, any_command: bool = False
) -> tuple[CommandSpec | None, Mapping[str, Json]]:
    """Return the command of the newest version that takes these arguments, and the arguments in the form it takes.

    If no version takes them, raise `UsageError`, or print a note with `any_command`; if only some do, print a note on
    what each takes. The command is None if no version has it.
    """
    fit = best_fit(signatures, typed.values, default_host)
    if fit is None:
        if not any_command:
            of = f"{signatures.kind} {' and '.join(signatures.by_version)}"
            output.say(
                f"note: restbroker knows no command {signatures.command} of {of}: it is passed on as it is, and the "
                "job dies if the server has none either."
            )
        return None, typed.values
    spec, reason = fit.spec, fit.reason
    values = _coerced_where_it_can_be(spec, typed.values) if any_command else coerce(spec, typed.values)
    if reason is not None and not any_command:
        lists = f"`restbroker commands {spec.name}` lists what it takes; --any queues it as it is."
        name = f"{signatures.kind} {fit.version}".strip()
        each = signatures.differences()
        raise UsageError(reason, f"This is how {name} takes it{f' ({each})' if each else ''}. {lists}")
    # Behind the refusal: what a mistyped name holds is advised on when it has the right one.
    _note_secrets(spec, typed)
    _note_addresses(spec, values, default_host)
    if reason is not None:
        output.say(f"note: {reason}")
    elif len(signatures.by_version) > 1 and not _is_same_to_all(signatures, fit.reasons, typed.values):
        output.say(
            f"note: the version of {signatures.kind} is unknown, and versions differ in {spec.name}:"
            f" {signatures.differences()}. To name it, set ServerVersion (in Targets: in its Options)."
        )
    return spec, values


def _coerced_where_it_can_be(spec: CommandSpec, given: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the arguments as the command takes them; those that it does not take are unchanged."""
    values = dict(given)
    for name, value in given.items():
        with suppress(UsageError):
            values |= coerce(spec, {name: value})
    return values


def _is_same_to_all(signatures: Signatures, reasons: Mapping[str, str | None], given: Mapping[str, Json]) -> bool:
    specs = signatures.by_version.values()
    if None in specs or any(reasons.values()):
        return False
    first, *others = (coerce(spec, given) for spec in specs if spec is not None)
    return all(one == first for one in others)


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


def _note_secrets(spec: CommandSpec, typed: arguments.TypedArguments) -> None:
    for name in sorted(typed.in_the_open):
        argument = spec.argument(name)
        if argument is not None and argument.secret:
            instead = f"use {name}=- or {name}=@FILE."
            output.say(f"note: {name} is visible in the command line, to `ps` and in the shell's history; {instead}")
        elif _holds_a_secret(spec, name, typed.values[name]):
            instead = "push it from a file, with --bulk."
            output.say(
                f"note: a secret in {name} is visible in the command line, to `ps` and in the shell's history;"
                f" {instead}"
            )


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


def _holds_a_secret(spec: CommandSpec, name: str, value: Json) -> bool:
    if isinstance(value, str) and not may_be_secret(name, value):
        return False
    from restbroker.job import redact  # slow to load, and a plain word is asked about most often

    return bool(redact.secret_values(spec, {name: value}))


def _names(targets: Sequence[Target]) -> str:
    more = f" and {len(targets) - _MOST_NAMED} more" if len(targets) > _MOST_NAMED else ""
    return ", ".join(target.name for target in targets[:_MOST_NAMED]) + more


def _ambiguous(targets: Sequence[Target], word: str, command: str) -> UsageError:
    """Return the error that says why none of several targets is chosen."""
    names = _names(targets)
    catalogues = {target.name: registry.candidates_of(target, None, command) for target in targets}
    known = {name for one in catalogues.values() for catalogue in one for name in catalogue.commands}
    if word in known:
        return UsageError(f"Several targets have the command {word}.", f"Name one with --target: {names}.")
    for name, (*_, catalogue) in catalogues.items():
        if instead := catalogue.unavailable.get(word):
            return UsageError(f"No target has a command {word}.", f"{name}: {instead}")
    near = get_close_matches(word, sorted(known), n=3)
    meant = f"; did you mean {endpoint.either(near)}?" if near else "."
    if all(catalogue.is_whole for one in catalogues.values() for catalogue in one):
        hint = f"`restbroker commands --target NAME` lists those of each: {names}."
    else:
        hint = f"If you mean exactly this name, choose a target with --target: {names}."
    return UsageError(f"No target is known to have a command {word!r}{meant}", hint)
