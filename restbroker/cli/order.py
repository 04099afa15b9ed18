"""Makes of a command line what `enqueue` pushes: for which target, which command with which arguments, which token.

Called by `enqueue`. Always holds: nothing is asked of a server or of Redis, and no value is shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

import typer

from restbroker.cli import arguments, output
from restbroker.cli.exits import Exit
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.connectors import registry
from restbroker.errors import UsageError
from restbroker.rules import endpoint, redact
from restbroker.rules.auth import Wish, refusal
from restbroker.rules.coerce import coerce
from restbroker.rules.command import Command, CommandSpec
from restbroker.rules.json_types import Json
from restbroker.rules.outcome import Reason


def target_of(targets: Sequence[Target], name: str | None, queue: str | None, command: str) -> Target:
    """The named target; else the one that serves the queue, the only one that knows the command, or the flat one."""
    names = ", ".join(target.name for target in targets)
    if name is not None:
        named = [target for target in targets if target.name == name]
        if not named:
            raise UsageError(f"There is no target {name!r}.", f"These are configured: {names}.")
        return named[0]
    serves = [target for target in targets if queue is not None and queue in target.queues]
    if len(serves) == 1 or len(targets) == 1:
        return [*serves, *targets][0]
    word = command.partition("/")[0]
    knows = [target for target in targets if _knows(target, command)]
    flat = [target for target in targets if target.name == registry.KINDS[0]]
    chosen = knows if len(knows) == 1 else flat
    if not chosen:
        raise _unclear(targets, word, command)
    return chosen[0]


def joined(targets: Sequence[Target], command: str, words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The command and its arguments, where its name was written in two words, as `mongooseimctl` takes it.

    Raises `UsageError` where two words are nearly such a name.
    """
    first = words[0] if words else ""
    written, left = (command.replace(" ", "."), words) if " " in command else (f"{command}.{first}", words[1:])
    dotted = [target for target in targets if registry.catalogue_of(target, None).is_dotted]
    if any(_knows(target, written) for target in dotted):
        return written, left
    if " " in command or (first and not arguments.is_named(first)):
        known = {name for target in dotted for name in registry.catalogue_of(target, None).commands}
        if near := get_close_matches(written, sorted(known), n=3, cutoff=0.8):
            raise UsageError(f"There is no command {written!r}; did you mean {' or '.join(near)}?", arguments.HOW)
    return command, words


def _knows(target: Target, command: str) -> bool:
    catalogue = registry.catalogue_of(target, None, command)
    return catalogue.name_in(command) in catalogue.commands


def token_of(tokens: Sequence[Token], target: Target, queue: str, spec: CommandSpec | None, command: Command) -> Token:
    """The first token that allows it there. Ends with 4, and with what to configure, if there is none."""
    dangers = registry.catalogue_of(target, None, command.endpoint).dangerous_in(command.endpoint)
    wish = Wish(command, spec, dangers, target.default_host, target.name, queue)
    reasons: list[Reason] = []
    for token in tokens:
        reason = refusal(token, wish)
        if reason is None:
            return token
        reasons.append(reason)
    if len(reasons) > 1:
        output.say(f"None of the {len(reasons)} tokens allows this; nothing was queued.")
    for reason in reasons:
        output.say(f"{reason.code}: {reason.message}\n{reason.cure}")
    raise typer.Exit(Exit.REFUSED)


def spec_of(target: Target, command: str, *, any_command: bool) -> CommandSpec | None:
    """What the catalogue knows of the command; None: nothing. Raises `UsageError` for what looks like a typo."""
    refused = endpoint.check(command)
    if not isinstance(refused, str):
        raise UsageError(refused.message, refused.cure)
    catalogue = registry.catalogue_of(target, None, command)
    name = catalogue.name_in(command)
    spec = catalogue.commands.get(name)
    if spec is not None or any_command:
        return spec
    if instead := catalogue.lacking.get(name):
        raise UsageError(f"The target {target.name} has no command {name}.", instead)
    near = get_close_matches(name, catalogue.commands, n=3)
    if near or catalogue.is_whole:
        meant = f"; did you mean {' or '.join(near)}?" if near else "."
        known = f"`restbroker commands --target {target.name}` lists them all."
        cure = known if catalogue.is_whole else "If you mean exactly this name, add --any."
        raise UsageError(f"There is no command {name!r}{meant}", cure)
    output.say(f"note: {name} is not in the catalogue of {target.kind} {catalogue.version}; it is passed on as it is.")
    return None


def needs_all(target: Target, command: str, *, any_command: bool) -> bool:
    """Whether a job without one of the command's arguments is sure to fail: where the catalogue is the server's whole.

    ejabberd's commands have other arguments in other versions, and take what is missing for empty in some.
    """
    return not any_command and registry.catalogue_of(target, None, command).is_whole


def typed_for(
    spec: CommandSpec | None, typed: arguments.Typed, default_host: str | None, *, needs_all: bool = False
) -> Mapping[str, Json]:
    """The arguments as the command takes them; notes what looks wrong, or raises `UsageError`."""
    if spec is None:
        return typed.values
    for name in sorted(typed.values):
        argument = spec.argument(name)
        if argument is not None and argument.secret and name in typed.in_the_open:
            instead = f"use {name}=- or {name}=@FILE."
            output.say(f"note: {name} stands in the command line, for `ps` and the shell's history; {instead}")
        elif name in typed.in_the_open and redact.secret_values(spec, {name: typed.values[name]}):
            instead = "push it from a file, with --bulk."
            output.say(f"note: a secret in {name} stands in the command line, for `ps` and the history; {instead}")
        is_filled = name in ("user", "host") and (spec.fills_user or spec.fills_host)
        if argument is None and not is_filled and not spec.takes_more:
            known = ", ".join(argument.name for argument in spec.arguments) or "none"
            output.say(f"note: {spec.name} has no argument {name}; it takes: {known}.")
    missing = ", ".join(missing_in(spec, typed.values, default_host))
    if missing and needs_all:
        cure = f"`restbroker commands {spec.name}` lists what it takes; --any queues it as it is."
        raise UsageError(f"{spec.name} needs {missing}: not given.", cure)
    if missing:
        output.say(f"note: {spec.name} also takes {missing}: not given.")
    return coerce(spec, typed.values)


def _unclear(targets: Sequence[Target], word: str, command: str) -> UsageError:
    """Why none of several targets is chosen."""
    names = ", ".join(target.name for target in targets)
    catalogues = {target.name: registry.catalogue_of(target, None, command) for target in targets}
    known = {name for catalogue in catalogues.values() for name in catalogue.commands}
    if word in known:
        return UsageError(f"It is not clear which target {word} is for.", f"Name it with --target: {names}.")
    for name, catalogue in catalogues.items():
        if instead := catalogue.lacking.get(word):
            return UsageError(f"No target has a command {word}.", f"{name}: {instead}")
    near = get_close_matches(word, sorted(known), n=3)
    meant = f"; did you mean {' or '.join(near)}?" if near else "."
    if all(catalogue.is_whole for catalogue in catalogues.values()):
        cure = f"`restbroker commands --target NAME` lists those of each: {names}."
    else:
        cure = f"If you mean exactly this name, say for which one with --target: {names}."
    return UsageError(f"No target is known to have a command {word!r}{meant}", cure)


def missing_in(spec: CommandSpec, given: Mapping[str, Json], default_host: str | None) -> Iterator[str]:
    """What the catalogue lists and nobody gives; a missing host is filled in where the target has one."""
    for argument in spec.arguments:
        names = {argument.name, *argument.aliases}
        filled = argument.optional or (default_host is not None and "host" in names)
        if names.isdisjoint(given) and not filled:
            yield argument.name
