"""`restbroker ctl`: a replacement for `ejabberdctl` or `mongooseimctl`, with a queue underneath.

Always holds: neither Trio nor an HTTP client is imported; stdout and exit code are those of the program that it
replaces, stderr is ours; nothing is pushed that this program would refuse by itself.
"""

import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, NoReturn

import attrs
import typer

from restbroker.cli.enqueue_one import answer_or_end, token_of
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.console import arguments, completion, output
from restbroker.console.exits import no
from restbroker.console.load_config import load_quietly
from restbroker.console.options import AnswerTimeoutOption, ConfigOption, TargetOption, argument, option
from restbroker.console.times import duration_s, local
from restbroker.console.who import who
from restbroker.errors import StoreRefused, StoreUnavailable, UsageError
from restbroker.job.command import Catalogue, Command, CommandSpec
from restbroker.job.json_types import Json
from restbroker.kinds import FLAT
from restbroker.light import frozen
from restbroker.operate.connect import open_store
from restbroker.operate.ctl import remove_refused
from restbroker.operate.enqueue import (
    AnswerWait,
    JobRequest,
    ServingProcess,
    find_process_if_known,
    push,
    waiting_notes,
)
from restbroker.servers import registry
from restbroker.servers.ctl import CtlCommand, CtlDialect, CtlOutput, CtlRefusal, read_reply
from restbroker.store.client import Client

app = typer.Typer(add_completion=False)

_WORDS: Final = "The command and its arguments, as ejabberdctl or mongooseimctl takes them."
_FILE: Final = "Read a password that is given as - from this file; - is standard input."
ArgumentWords = Annotated[list[str] | None, argument("[COMMAND [ARGUMENT]...]", _WORDS, completion.first_word)]
NoTimeout = Annotated[bool, option("--no-timeout -t", "Wait until it is done.")]
ApiVersion = Annotated[str | None, option("--version NUMBER", "The version of ejabberd's API.")]
SecretFile = Annotated[Path | None, option("FILE", _FILE, completion.paths, readable=False)]
_STATE_S: Final = 10.0
_DOWN: Final = 3
"""The exit code of ejabberdctl if there is no such node."""


@app.command(context_settings={"allow_interspersed_args": False})
def ctl(
    words: ArgumentWords = None,
    target: TargetOption = None,
    timeout: AnswerTimeoutOption = "60s",
    no_timeout: NoTimeout = False,
    version: ApiVersion = None,
    secret_file: SecretFile = None,
    config: ConfigOption = None,
) -> None:
    """Run a command of ejabberdctl or mongooseimctl through the queue: the same words, the same output.

    Options come before the command; everything after it is passed on as it is. Exits as the original does, with 0 or 1;
    and with 2: wrong command line or configuration, nothing was queued; 3: Redis is unreachable, or `status` found no
    server; 4: the token, the login or the command was not accepted; 6: no answer yet, the job is queued and will run;
    130: Ctrl-C, still queued.
    """
    settings = load_quietly(config)
    given = words or []
    place, manner = _choose_target(settings.targets, target, given)
    timeout_s = None if no_timeout else duration_s("--timeout", timeout)
    with open_store(settings) as client:
        found = find_process_if_known(client, place.queues[0])
        catalogue = _catalogue(place, found, version)
        way = _CtlExchange(client, settings, place, dialect=manner, catalogue=catalogue)
        if given in (["status"], ["started"]) and manner.asks_state is not None and version is None:
            _tell_state(way, found, given[0], timeout_s)
        match read := manner.read(catalogue, given, version):
            case CtlRefusal(message=message, hint=hint):
                raise UsageError(message, hint)
            case CtlOutput():
                _end(read)
            case CtlCommand():
                asked = _with_secret(read, catalogue.commands.get(read.name), secret_file)
                _end(way.result(asked, found, timeout_s))


@frozen
class _CtlExchange:
    """One exchange with the server through the queue, from a command to the output for its answer."""

    client: Client
    settings: Config
    place: Target
    dialect: CtlDialect
    catalogue: Catalogue

    def push(self, command: CtlCommand) -> AnswerWait:
        """Push the command; end with 4 if no token allows it."""
        spec = self.catalogue.commands.get(command.name)
        queue = self.place.queues[0]
        job = Command(command.endpoint, command.arguments)
        token = token_of(self.settings.tokens, self.place, queue, spec=spec, command=job)
        request = JobRequest(command.endpoint, command.arguments, queue, token, wants_reply=True)
        push(self.client, request, jid := secrets.token_hex(12), now_s := time.time())
        return AnswerWait(self.client, self.settings, self.place, request, jid, now_s, output.say, local)

    def result(self, command: CtlCommand, found: ServingProcess | None, timeout_s: float | None) -> CtlOutput:
        """Push the command, wait for its answer, and return what to print.

        End with an exit code of its own if no answer comes, or the job was not done. A refusal that was printed is not
        kept in the dead set, unless the job may have run.
        """
        for note in (notes := [*waiting_notes(found, None, self.place.queues[0])]):
            output.say(note)
        waiting = self.push(command)
        details = answer_or_end(waiting, timeout_s, is_explained=bool(notes))
        printed, reply = self.output(waiting.jid, details, command), read_reply(details)
        if not reply.is_done and reply.outcome != "uncertain":
            try:
                remove_refused(self.client, waiting.jid, who())
            except (StoreUnavailable, StoreRefused) as error:
                output.say(f"note: the job {waiting.jid} stays in the dead set: {error.message}")
        return printed

    def output(self, jid: str, details: Mapping[str, Json], command: CtlCommand) -> CtlOutput:
        """Return what to print for an answer; end with 1 or 4 for one that the other program does not have."""
        reply = read_reply(details)
        printed = self.dialect.write(self.catalogue, command, reply)
        if printed is not None:
            return printed
        error = details.get("error")
        if isinstance(error, Mapping):
            output.say(f"{error.get('code')}: {error.get('message')}")
            if error.get("cure"):
                output.say(str(error.get("cure")))
        output.say(f"The job {jid} was not done; it is dead (restbroker dead show {jid}).")
        raise typer.Exit(no(reply.outcome, reply.code))


def _tell_state(way: _CtlExchange, found: ServingProcess | None, word: str, timeout_s: float | None) -> NoReturn:
    """End with the server's state: `status` prints what is known at once, `started` waits for it and prints nothing."""
    name, is_status = way.place.name, word == "status"
    if is_status and (found is None or found.quiet or found.hindrance is not None):
        why = f"no process serves the queue {way.place.queues[0]}." if found is None else str(found.hindrance)
        output.say(f"restbroker cannot tell whether {name} is running: {why}")
        raise typer.Exit(_DOWN)
    harmless = way.dialect.asks_state or word
    asked = CtlCommand(harmless, harmless, {}, word)
    waiting = way.push(asked)
    details = waiting.answer(_STATE_S if is_status else timeout_s, is_explained=True)
    if details is None:
        if is_status:
            output.say(f"{name} did not answer in {duration_text(_STATE_S)}.")
        raise typer.Exit(_DOWN if is_status else 1)
    printed = way.output(waiting.jid, details, asked)
    _end(printed if is_status else CtlOutput(code=printed.code))


def _end(printed: CtlOutput) -> NoReturn:
    if printed.text:
        output.pieces([printed.text])
    if printed.note is not None:
        output.say(printed.note)
    raise typer.Exit(printed.code)


def _choose_target(targets: Sequence[Target], name: str | None, words: Sequence[str]) -> tuple[Target, CtlDialect]:
    """Return the target `name` and its dialect; else the only one with the command, the flat one, or the only one.

    Raise `UsageError` if there is no such target, or several would do.
    """
    able = [(target, manner) for target in targets if (manner := registry.ctl_dialect(target.kind)) is not None]
    names = ", ".join(target.name for target, _ in able)
    if not able:
        raise UsageError("No target is a server with a ctl program of its own.", "Use `restbroker enqueue`.")
    named = [pair for pair in able if name in (None, pair[0].name)]
    if not named:
        raise UsageError(f"There is no target {name!r} with a ctl program.", f"These are configured: {names}.")
    knows = [pair for pair in named if words and _has_command(pair[0], words[0])]
    flat = [pair for pair in named if pair[0].name == FLAT]
    if chosen := next((pairs for pairs in (named, knows, flat) if len(pairs) == 1), None):
        return chosen[0]
    raise UsageError("Several targets have this command.", f"Name it with --target: {names}.")


def _has_command(target: Target, word: str) -> bool:
    catalogue = registry.catalogue_of(target, None)
    if catalogue.is_dotted:
        return any(name.startswith(f"{word}.") for name in catalogue.commands)
    return word.replace("-", "_") in catalogue.commands


def _catalogue(place: Target, found: ServingProcess | None, version: str | None) -> Catalogue:
    """Return the commands of the server version that a running process found, in this version of the interface."""
    pinned = f"ctl/v{version}" if version is not None and version.isascii() and version.isdigit() else ""
    return registry.catalogue_of(place, None if found is None else found.server_version, pinned[:8])


def _with_secret(command: CtlCommand, spec: CommandSpec | None, path: Path | None) -> CtlCommand:
    """Return the command with the content of `--secret-file` in place of each secret that was written as `-`.

    Raise `UsageError` if there is such a file and no such secret, or if it cannot be read.
    """
    secret = {argument.name for argument in spec.arguments if argument.secret} if spec is not None else set()
    given = sorted(secret & command.arguments.keys())
    if path is None:
        if given and sys.stderr.isatty():
            output.say(
                f"note: {given[0]} is visible in the command line, to `ps` and in the shell's history;"
                " see --secret-file."
            )
        return command
    dashes = [name for name in given if command.arguments[name] == "-"]
    if not dashes:
        raise UsageError("--secret-file is given, but no secret is given as -.", "Write - in place of the secret.")
    text: Json = arguments.text_of("--secret-file", path)
    return attrs.evolve(command, arguments={**command.arguments, **dict.fromkeys(dashes, text)})
