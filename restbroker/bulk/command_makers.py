"""Makes the makers of jobs for `enqueue --bulk`, one for each command, with its target and the server's arguments.

Called by `bulk.command`. Always holds: a command is looked up once, however many rows name it.
"""

from collections.abc import Callable, Sequence

import attrs

from restbroker.bulk.push_jobs import Maker, Tokens
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.console import arguments, output
from restbroker.console.order import signatures_of, target_of
from restbroker.errors import RestbrokerError, UsageError
from restbroker.job.argument_check import Checker
from restbroker.job.coerce import coerce
from restbroker.job.command import CommandSpec
from restbroker.operate.enqueue import JobRequest, find_process, pause_of
from restbroker.servers import registry
from restbroker.store.client import Client


@attrs.define(eq=False)
class Makers:
    """Returns the maker of jobs for the name of a command, the same each time. `order`: what all jobs share.

    `target` and `queue`: those that the operator named. `client` None: Redis is not queried for the server's version.
    `say` takes each note that the jobs will wait.
    """

    settings: Config
    target: str | None
    queue: str | None
    typed_arguments: arguments.TypedArguments
    any_command: bool
    order: JobRequest
    client: Client | None
    say: Callable[[str], None] = output.say
    _made: dict[str, Maker | UsageError] = attrs.field(factory=dict)
    _versions: dict[str, str | None] = attrs.field(factory=dict)
    _warned: set[str] = attrs.field(factory=set)

    def __call__(self, command: str) -> Maker:
        """Return the maker of this command's jobs. Raise `UsageError` for an unknown command."""
        if command not in self._made:
            try:
                self._made[command] = self._make(command)
            except UsageError as error:
                self._made[command] = error
        found = self._made[command]
        if isinstance(found, UsageError):
            raise found
        return found

    def reorder(self, order: JobRequest) -> None:
        """Use this order for all jobs from now on; makers that were returned before keep theirs."""
        self.order = order
        self._made.clear()

    def version(self, command: str) -> str:
        """Return the kind and version of server whose catalogue has the command: `ejabberd 24.12`."""
        target = target_of(self.settings.targets, self.target, self.queue, command)
        return f"{target.kind} {registry.candidates_of(target, self._version(target), command)[-1].version}".strip()

    def _make(self, command: str) -> Maker:
        target = target_of(self.settings.targets, self.target, self.queue, command)
        spec = signatures_of(target, self._version(target), command, any_command=self.any_command).newest
        if spec is None and not self.any_command:
            # One job may be a try; a thousand are to be right.
            raise UsageError(f"{command} is not in the catalogue.", "If you mean exactly this name, add --any.")
        const = self.typed_arguments.values if spec is None else coerce(spec, self.typed_arguments.values)
        if spec is not None:
            self._warn(spec)
        dangerous = registry.catalogue_of(target, None, command).dangerous_in(command)
        order = attrs.evolve(self.order, command=command, queue=self.queue or target.queues[0])
        tokens = Tokens(
            self.settings.tokens,
            spec,
            dangerous,
            default_host=target.default_host,
            target=target.name,
            queue=order.queue,
        )
        return Maker(Checker(spec, const, target.default_host), tokens, order)

    def _warn(self, spec: CommandSpec) -> None:
        for name in sorted(self.typed_arguments.in_the_open - self._warned):
            argument = spec.argument(name)
            if argument is not None and argument.secret:
                self._warned.add(name)
                instead = f"use --const {name}=@FILE, or a column."
                output.say(
                    f"note: {name} is visible in the command line, to `ps` and in the shell's history; {instead}"
                )

    def _version(self, target: Target) -> str | None:
        queue = self.queue or target.queues[0]
        if queue not in self._versions:
            self._versions[queue] = self._running(queue, target.name)
        return self._versions[queue]

    def _running(self, queue: str, target: str) -> str | None:
        if self.client is None:
            return None
        try:
            found = find_process(self.client, queue)
            paused = pause_of(self.client, queue, target) if self.order.at_s is None else None
        except RestbrokerError:  # Whatever is wrong is told when rows are pushed.
            return None
        if found is None:
            self.say(f"note: no running process serves the queue {queue}; the jobs will wait for one.")
        elif found.quiet:
            self.say(f"note: {found.hindrance} No other process serves the queue {queue}; the jobs will wait.")
        if paused is not None:
            self.say(f"note: {paused.text} The jobs will wait: {paused.resume_command}")
        return None if found is None else found.server_version


def wrong_header(maker: Maker, columns: Sequence[str]) -> str | None:
    """Return why no row of a table with these columns can be valid; None if one may be.

    It shows no column's name if all may be values of a first row.
    """
    spec = maker.checker.spec
    wrong = maker.checker.names(columns)
    if wrong is None or spec is None:
        return wrong
    if not any(spec.argument(name) for name in columns):
        takes = ", ".join(argument.name for argument in spec.arguments)
        return f"its first line names no argument of {spec.name}, which takes: {takes}."
    return wrong
