"""The words of `restbroker enqueue`: the command and its arguments. Used by `cli.enqueue`. No value is shown."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches

from restbroker.config.target import Target
from restbroker.console import arguments, output
from restbroker.errors import UsageError
from restbroker.job import endpoint
from restbroker.job.coerce import coerce
from restbroker.job.command import CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.names import may_be_secret
from restbroker.operate.request import Signatures, best_fit, has_command
from restbroker.servers import registry


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
