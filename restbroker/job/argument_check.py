"""Whether the arguments of a row are what its command takes. Pure; `enqueue --bulk` asks before it pushes a row.

Always holds: a row that passes has only arguments of the command, all that it needs, and each of the right type; no
reason shows a value of a secret argument. An empty cell leaves an optional argument out; for any other argument it is
an empty text, or the row is refused where that cannot be meant (a number, a secret, a name, a host).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import Final, assert_never

from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.job.coerce import coerce
from restbroker.job.command import ArgumentSpec, CommandSpec, ValueType
from restbroker.job.endpoint import kind_of
from restbroker.job.json_types import Json
from restbroker.light import define, field

_SEEN_LIMIT: Final = 100
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")


class BadRow(ValueError):
    """Raised with the reason why a row cannot be pushed: the text completes "line 5: …"."""


@define(eq=False)
class Checker:
    """The rules of one command. `const`: the arguments that all rows have. `default_host` fills a missing `host`.

    `spec` None: nothing is known of the command, and any arguments pass.
    """

    spec: CommandSpec | None
    const: Mapping[str, Json]
    default_host: str | None
    _seen: dict[tuple[str, ...], str | None] = field(factory=dict)

    def names(self, names: Iterable[str]) -> str | None:
        """Return what is wrong with these names, for all rows that have them; None if nothing is."""
        given = tuple(names)
        if given not in self._seen:
            if len(self._seen) >= _SEEN_LIMIT:
                self._seen.clear()
            self._seen[given] = self._wrong_names(given)
        return self._seen[given]

    def arguments(self, values: dict[str, Json], *, are_cells: bool) -> dict[str, Json]:
        """Return the command's arguments in its types, with those that all rows have.

        `values` may be changed. `are_cells`: they are cells of a table, and an empty one may mean that it is left out.
        Raise `BadRow` if a name or a value does not fit.
        """
        if are_cells and "" in values.values():
            values = {name: cell for name, cell in values.items() if cell or not self._is_left_out(name)}
        given = tuple(values)
        wrong = self._seen[given] if given in self._seen else self.names(given)
        if wrong is not None:
            # The server's version may be unknown still.
            others = (Checker(spec, self.const, self.default_host) for spec in (self.spec.others if self.spec else ()))
            other = next((checker for checker in others if checker.names(given) is None), None)
            if other is None:
                raise BadRow(wrong)
            return other.arguments(values, are_cells=are_cells)
        for name, argument in self._converted_specs if are_cells else self._typed_specs:
            if name in values:
                values[name] = self._value(argument, name, values[name])
        return {**values, **self.const} if self.const else values

    def takes_no(self, name: str) -> bool:
        """Tell whether the command is known to have no argument of this name."""
        return self.spec is not None and not self.spec.takes_more and self.spec.argument(name) is None

    @cached_property
    def _typed_specs(self) -> Sequence[tuple[str, ArgumentSpec]]:
        arguments = () if self.spec is None else self.spec.arguments
        return [(name, spec) for spec in arguments for name in (spec.name, *spec.aliases) if spec.type != "any"]

    @cached_property
    def _converted_specs(self) -> Sequence[tuple[str, ArgumentSpec]]:
        return [(name, argument) for name, argument in self._typed_specs if argument.type != "string"]

    def _is_left_out(self, name: str) -> bool:
        """Tell whether an empty cell means that the argument is left out.

        Raise `BadRow` if it can mean neither that nor an empty text.
        """
        spec = self.spec
        argument = None if spec is None else spec.argument(name)
        if argument is None:
            return spec is not None and name in ("user", "host")
        if argument.optional or (argument.host_source == "host" and name == "host" and self.default_host is not None):
            return True
        if argument.type == "integer" or argument.secret or argument.host_source is not None:
            raise BadRow(f"{name} is empty.")
        return False

    def _wrong_names(self, given: tuple[str, ...]) -> str | None:
        if twice := next((name for name in given if name in self.const), None):
            return f"{twice} is already given for all rows."
        spec = self.spec
        if spec is None:
            return None
        names = {*given, *self.const}
        for name in () if spec.takes_more else sorted(names):
            if spec.argument(name) is None and not (name in ("user", "host") and (spec.fills_user or spec.fills_host)):
                return _unknown_name(spec, name)
        missing = []
        for argument in spec.arguments:
            found = [name for name in (argument.name, *argument.aliases) if name in names]
            if len(found) > 1:
                return f"{' and '.join(found)} are the same argument."
            is_filled = argument.optional or (
                self.default_host is not None and "host" in (argument.name, *argument.aliases)
            )
            if not found and not is_filled:
                missing.append(argument.name)
        return f"{spec.name} also needs {', '.join(missing)}." if missing else None

    def _value(self, argument: ArgumentSpec, name: str, value: Json) -> Json:
        if isinstance(value, str):
            if argument.type == "string":
                return value
            if argument.type == "list" and value.startswith("["):
                value = _parse_json(name, value)
            else:
                assert self.spec is not None  # noqa: S101 - where the argument is from
                try:
                    return coerce(self.spec, {name: value})[name]
                except UsageError as error:
                    raise BadRow(error.message) from None
        if not _fits(argument, value):
            raise BadRow(f"{name} must be {_WANTED[argument.type]}, not {kind_of(value)}.")
        return value


def _fits(argument: ArgumentSpec, value: Json) -> bool:
    match argument.type:
        case "any":
            return True
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "list":
            kind = {"object": dict, "string": str, None: object}[argument.element]
            return isinstance(value, list) and all(isinstance(item, kind) for item in value)
        case _:
            assert_never(argument.type)


def _parse_json(name: str, text: str) -> Json:
    try:
        return rubyjson.loads(text.encode("utf-8", "surrogateescape"))
    except rubyjson.Unreadable:
        raise BadRow(f"{name} starts like a JSON list but is not one.") from None


def _unknown_name(spec: CommandSpec, name: str) -> str:
    known = [argument.name for argument in spec.arguments]
    if name == "ok_if_exists":
        return f'{spec.name} has no argument {name}; it is --ok-if-exists here, and a field next to "args" in a job.'
    near = get_close_matches(name, known, n=1)
    meant = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known) or 'none'}."
    return f"{spec.name} has no argument {quote_name(name)}; {meant}"


def quote_name(name: str) -> str:
    """Return a name from a file of jobs in quotes; if it is more than a name, only its length: it may hold a secret."""
    return repr(name) if _NAME.fullmatch(name) else f"(a string of {len(name)} characters)"


_WANTED: Final[Mapping[ValueType, str]] = {
    "any": "anything",
    "string": "a string",
    "integer": "an integer",
    "list": "a list of the right type",
}
