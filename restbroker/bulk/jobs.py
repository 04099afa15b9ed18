"""Makes jobs of rows: for each command its target, queue and arguments, the token that allows it, and the payload.

Called by `bulk.batch`. Always holds: a command is looked up once, however many rows name it; a row's payload is, byte
for byte, what `operate.enqueue.payload` would make of the same order; at most one chunk of rows is in memory; a bad row
affects no other.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs
import orjson

from restbroker.bulk.rows import Bad, FileRow, Read
from restbroker.bulk.store import Chunk, jid_of
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.console import arguments, output
from restbroker.console.arguments import TypedArguments
from restbroker.errors import RestbrokerError, UsageError
from restbroker.job import claims, rubyjson
from restbroker.job.argument_check import BadRow, Checker
from restbroker.job.auth import AccessRequest, command_refusal, place_refusal
from restbroker.job.claims import Lock
from restbroker.job.coerce import coerce
from restbroker.job.command import Command
from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.job.json_types import Json
from restbroker.job.outcome import Reason
from restbroker.light import define, field, frozen
from restbroker.operate.enqueue import JobRequest, find_process, pause_of, payload, waiting_notes
from restbroker.operate.request import access_of, allowing_token, signatures_of, target_of
from restbroker.store.client import Client

_CHUNK_ROWS: Final = 500
_CHUNK_BYTES: Final = 512 * 1024
_CHUNKS_A_SECOND: Final = 10
_TEXTS: Final = {str}
EACH_ITS_OWN: Final = "-"
"""It stands in the place of a command if each row names its own."""
COMMAND_KEY: Final = "command"
"""The column or member that names the command, where each row names its own."""
UNIQUE_KEY: Final = "_unique"
"""The column or member with the key of a row, as `--unique` takes it. An empty cell is none."""

FAIR_COLUMN: Final = "_fair_key"
"""The column or member with the key by which a row's job takes turns; an empty cell is that of `--fair-key`."""
ORDER_COLUMN: Final = "_order_key"
"""The column or member with the key whose order a row's job keeps; an empty cell is that of `--order-key`."""
OWN_COLUMNS: Final = (UNIQUE_KEY, FAIR_COLUMN, ORDER_COLUMN)
"""Columns that are no arguments."""


@frozen(eq=False)
class TokenFinder:
    """Finds the token for a job: the first that allows the command and its arguments.

    `access`: what all jobs need, which are of one command, target and queue; its arguments are not used.
    """

    tokens: Sequence[Token]
    access: AccessRequest

    def reasons_against(self) -> list[Reason]:
        """Return each token's reason against the command, whatever its arguments; an empty list if one may allow it."""
        reasons = [self._refusal(token) for token in self.tokens]
        return [reason for reason in reasons if reason is not None] if None not in reasons else []

    def fixed_token(self) -> Token | None:
        """Return the token of all jobs; None if it depends on their arguments, or none allows it."""
        allowing = next((token for token in self.tokens if self._refusal(token) is None), None)
        depends = self.access.spec is not None and self.access.spec.dangerous_in is not None
        return None if depends or allowing is None or allowing.hosts else allowing

    def find(self, arguments: Mapping[str, Json]) -> Token:
        """Return the token for a job with these arguments. Raise `BadRow` if none allows it."""
        access = attrs.evolve(self.access, command=Command(self.access.command.endpoint, arguments))
        found = allowing_token(self.tokens, access)
        if isinstance(found, Token):
            return found
        raise BadRow(f"{found[-1].code}: {found[-1].message}")

    def _refusal(self, token: Token) -> Reason | None:
        one = self.access
        refused = place_refusal(token, one.target, one.queue)
        return refused or command_refusal(token, one.command.endpoint, one.spec, one.dangerous)


@define(eq=False)
class Maker:
    """Makes the payloads of one command. `request`: what all jobs share; its arguments and token are not used.

    `target` is the one that they go to; `lock`: that of a row with a key, but for key and name.
    """

    checker: Checker
    tokens: TokenFinder
    request: JobRequest
    target: Target
    lock: Lock | None = None
    _at_s: float = -1.0
    _parts: tuple[bytes, bytes, bytes] | None = None

    def request_of(self, own: Mapping[str, Json], arguments: dict[str, Json]) -> JobRequest:
        """Return the order of a row: that of all if `own`, the values of the row's own columns, has none.

        Raise `BadRow` or `UsageError` if a value cannot be a key, or cannot have its effect.
        """
        request = self.request
        if (fair_key := own.get(FAIR_COLUMN)) not in (None, ""):
            request = attrs.evolve(request, fair_key=_text(fair_key))
        if (order_key := own.get(ORDER_COLUMN)) not in (None, ""):
            request = attrs.evolve(request, order_key=_text(order_key))
        if request.order_key is not None and not self.target.takes_order_key:
            raise BadRow(no_order([self.target]))
        key = own.get(UNIQUE_KEY)
        return request if key in (None, "") else attrs.evolve(request, lock=self._own_lock(arguments, key))

    def _own_lock(self, arguments: dict[str, Json], key: Json) -> Lock:
        if self.lock is None:
            raise BadRow(f'"{UNIQUE_KEY}" needs --unique-for: how long the key counts at most.')
        if not isinstance(key, str) or not claims.is_key(key):
            raise BadRow(f'"{UNIQUE_KEY}" takes a string of 1 to {claims.MOST_BYTES} bytes.')
        token = self.tokens.find(arguments)
        return attrs.evolve(self.lock, key=key, name=claims.lock_name(self.target.name, token.name, key))

    def payload(self, request: JobRequest, arguments: dict[str, Json], jid: str, now_s: float) -> bytes:
        """Return the job of a row as JSON, pushed at `now_s` (epoch seconds).

        Raise `BadRow` if no token allows it, or `UsageError` if it can be no job.
        """
        if now_s != self._at_s:
            self._at_s, self._parts = now_s, self._same_for_all(now_s)
        if self._parts is None or request is not self.request:
            return payload(attrs.evolve(request, arguments=arguments, token=self.tokens.find(arguments)), jid, now_s)
        head, proof, tail = self._parts
        try:
            raw = b'%b%b,%b],"jid":"%b%b' % (head, _dumps(arguments), proof, jid.encode(), tail)
        except ValueError as error:
            raise BadRow(f"it cannot be written as JSON: {error}.") from None
        if len(raw) > PAYLOAD_LIMIT_BYTES:
            raise BadRow(f"the job would be {len(raw)} bytes; {PAYLOAD_LIMIT_BYTES} are the limit.")
        return raw

    def _same_for_all(self, now_s: float) -> tuple[bytes, bytes, bytes] | None:
        """Return what stands around the arguments and the jid; None if more of it is each row's own.

        They are cut out of a job with empty arguments and jid. A token cannot be cut: JSON escapes its quotation marks.
        """
        token = self.tokens.fixed_token()
        if token is None or token.signed or (self.request.wants_reply and self.request.reply_to is None):
            return None
        raw = payload(attrs.evolve(self.request, arguments={}, token=token), "", now_s)
        head, _, rest = raw.partition(b"{},")
        proof, _, tail = rest.partition(b'],"jid":"')
        return head, proof, tail


@frozen
class BatchOptions:
    """The options of the command line. `request`: the request that all jobs share, except arguments and token."""

    file: Path
    request: JobRequest
    target: str | None
    queue: str | None
    any_command: bool
    timeout_s: float
    rejects: Path | None
    rate: float | None


@define(eq=False)
class Makers:
    """Returns the maker of jobs for the name of a command, the same each time. `request`: what all jobs share."""

    settings: Config
    options: BatchOptions
    typed_arguments: TypedArguments
    client: Client
    request: JobRequest
    _made: dict[str, Maker | UsageError] = field(factory=dict)
    _versions: dict[str, str | None] = field(factory=dict)

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

    def use_request(self, request: JobRequest) -> None:
        """Use this order for all jobs from now on; makers that were returned before keep theirs."""
        self.request = request
        self._made.clear()

    def _make(self, command: str) -> Maker:
        any_command = self.options.any_command
        target = target_of(self.settings.targets, self.options.target, self.options.queue, command)
        spec = signatures_of(target, self._version(target), command, any_command=any_command).spec
        if spec is None and not any_command:
            # One job may be a try; a thousand are to be right.
            raise UsageError(f"{command} is not in the catalogue.", "If you mean exactly this name, add --any.")
        const = self.typed_arguments.values if spec is None else coerce(spec, self.typed_arguments.values)
        if spec is not None:
            arguments.note_secrets(spec, self.typed_arguments)
        request = attrs.evolve(self.request, command=command, queue=self.options.queue or target.queues[0], lock=None)
        tokens = TokenFinder(
            self.settings.tokens, access_of(target, request.queue, spec=spec, command=Command(command, {}))
        )
        checker = Checker(spec, const, target.default_host)
        return Maker(checker, tokens, request, target, lock=self.request.lock)

    def _version(self, target: Target) -> str | None:
        """Return the version that a process found, None if it is unknown; say once of a queue why its jobs wait."""
        queue = self.options.queue or target.queues[0]
        if queue not in self._versions:
            self._versions[queue] = None
            with suppress(RestbrokerError):  # Whatever is wrong is told when rows are pushed.
                found = find_process(self.client, queue)
                paused = pause_of(self.client, queue, target.name) if self.request.at_s is None else None
                for note in waiting_notes(found, paused, queue, "the jobs"):
                    output.say(note)
                self._versions[queue] = None if found is None else found.server_version
        return self._versions[queue]


@define(eq=False)
class JobReader:
    """Makes jobs of rows. `command` None: each row names its own. `skipped`: rows up to this one are pushed already."""

    batch: str
    rows: Iterator[Read]
    makers: Makers
    command: str | None
    are_cells: bool
    reject: Callable[[Bad], None]
    skipped: int = 0
    rate: float | None = None
    good: int = 0
    bad: int = 0

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in chunks as they are read; bad ones go to `reject`."""
        most_rows = _CHUNK_ROWS
        if self.rate is not None:
            most_rows = max(1, int(min(most_rows, self.rate / _CHUNKS_A_SECOND)))
        chunk, now_s = Chunk(), time.time()
        for row in self.rows:
            self._read(row, chunk, now_s)
            if chunk.rows >= most_rows or chunk.size >= _CHUNK_BYTES:
                yield chunk
                chunk, now_s = Chunk(chunk.last), time.time()
        if chunk.rows:
            yield chunk

    def _read(self, row: Read, chunk: Chunk, now_s: float) -> None:
        chunk.rows += 1
        if isinstance(row, Bad):
            self._refuse(row)
        else:
            try:
                self._make(row, chunk, now_s)
            except (BadRow, UsageError) as error:
                why = error.message if isinstance(error, UsageError) else str(error)
                self._refuse(Bad(row.number, row.line, why, row.text))
        chunk.last = row.number

    def _make(self, row: FileRow, chunk: Chunk, now_s: float) -> None:
        number, values = row.number, row.values
        maker = self._maker(values)
        own: dict[str, Json] = {name: values.pop(name) for name in OWN_COLUMNS if name in values}
        if self.command is not None and COMMAND_KEY in values and maker.checker.takes_no(COMMAND_KEY):
            raise BadRow(f'the row names its command in "{COMMAND_KEY}": leave {self.command} out of the command line.')
        arguments = maker.checker.arguments(values, are_cells=self.are_cells)
        request = maker.request_of(own, arguments)
        # Also of one that is pushed already: it counts as it did then.
        raw = maker.payload(request, arguments, jid := jid_of(self.batch, number), now_s)
        self.good += 1
        if number > self.skipped:
            chunk.add(request, raw, jid, now_s)

    def _maker(self, values: dict[str, Json]) -> Maker:
        """Return the maker for a row with these values. Raise `BadRow` or `UsageError` if it names no known command."""
        command: Json = values.pop(COMMAND_KEY, None) if self.command is None else self.command
        if not isinstance(command, str) or not command:
            raise BadRow(f'the field "{COMMAND_KEY}" names no command.')
        return self.makers(command)

    def _refuse(self, bad: Bad) -> None:
        self.bad += 1
        self.reject(bad)


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


def no_order(targets: Sequence[Target]) -> str:
    """Return why rows with an order key are not pushed to any of these targets."""
    return f'there is no "OrderBy": "order_key" in {", ".join(target.name for target in targets)}.'


def _text(key: Json) -> str:
    return key if isinstance(key, str) else ""


def _dumps(arguments: dict[str, Json]) -> bytes:
    """Return what `rubyjson.dumps` does, which checks each value first: texts alone need no check."""
    if {*map(type, arguments.values())} == _TEXTS:
        try:
            return orjson.dumps(arguments)
        except TypeError:
            pass  # half a surrogate pair
    return rubyjson.dumps(arguments)
