"""What the handlers of both APIs are given and may raise, and how a path finds its handler.

Used by the stand-in's modules. Always holds: the path with more literal text wins, as in JAX-RS.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import unquote

import attrs

from tests.support.lines import Asked
from tests.support.openfire.forms import Dialect, Listed, as_json
from tests.support.openfire.http import Said
from tests.support.openfire.reading import Misfit, Shape, read
from tests.support.openfire.world import World

JSON: Final = "application/json"
XML: Final = "application/xml"
CREATED: Final = Said(201)
DONE: Final = Said(200)
_ALLOW: Final = ("DELETE", "PUT", "POST", "GET", "OPTIONS")


class Failed(Exception):
    """An answer with an error entity."""

    def __init__(self, status: int, exception: str, message: str, resource: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.exception = exception
        self.message = message
        self.resource = resource


class Bare(Exception):
    """An answer without a body, or with a page."""

    def __init__(self, status: int, reason: str = "", *, allow: str = "", page: bytes = b"") -> None:
        super().__init__(status)
        headers = (("Allow", allow),) if allow else ()
        self.said = Said(status, page, "text/html" if page else "", reason, headers)


def broken(*, page: bytes = b"") -> Bare:
    """The servlet's 500."""
    return Bare(500, "Server Error", page=page)


@attrs.frozen
class Caller:
    """Who asks: by Basic, or by the secret. `is_whole_jid`: with a domain behind the name."""

    username: str | None
    is_admin: bool
    is_whole_jid: bool = False


@attrs.frozen
class Call:
    """One request to a handler."""

    asked: Asked
    world: World
    dialect: Dialect
    caller: Caller
    segments: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.segments[name]

    def asks(self, name: str, default: str = "") -> str:
        return self.asked.query.get(name, default)

    def read(self, shape: Shape) -> dict[str, Any]:
        """The body's fields. Raises Bare, as the framework answers what it cannot read."""
        if self.asked.content_type not in (JSON, XML) and self.asked.body:
            raise Bare(415)
        try:
            return read(self.dialect, shape, self.asked.content_type, self.asked.body)
        except Misfit:
            raise broken() from None

    @property
    def text(self) -> str:
        return self.asked.body.decode()


Answer: TypeAlias = Said | dict[str, Any] | Listed


class Handler(Protocol):
    """Answers a call. Raises Failed or Bare."""

    def __call__(self, call: Call, /) -> Answer: ...


@attrs.frozen
class Route:
    """A method of a path; `dialects` that have it, `is_open` without a login."""

    method: str
    pattern: re.Pattern[str]
    literal: int
    handler: Handler
    dialects: tuple[Dialect, ...] = ("1.2", "1.5", "1.12")
    is_open: bool = False


class Routes:
    """The paths of an API."""

    def __init__(self) -> None:
        self._listed: list[Route] = []

    def add(
        self, method: str, template: str, *dialects: Dialect, is_open: bool = False
    ) -> Callable[[Handler], Handler]:
        """Makes a handler the one for this path; without dialects it is in each."""

        def added(handler: Handler) -> Handler:
            route = Route(method, _pattern(template), _literal(template), handler, dialects or _ALL, is_open)
            self._listed.append(route)
            self._listed.sort(key=lambda one: -one.literal)
            return handler

        return added

    def find(self, method: str, path: str, dialect: Dialect) -> tuple[Route, dict[str, str]]:
        """The handler and the path's values. Raises Bare where there is none."""
        matching = [
            (one, found) for one in self._listed if dialect in one.dialects and (found := one.pattern.fullmatch(path))
        ]
        best = [(one, found) for one, found in matching if one.literal == matching[0][0].literal]
        if not best:
            raise Bare(404)
        for route, found in best:
            if route.method == method:
                if "%2f" in path.lower():
                    raise broken()
                return route, {name: unquote(value) for name, value in found.groupdict().items()}
        methods = {route.method for route, _ in best} | {"OPTIONS"}
        raise Bare(405, allow=",".join(sorted(methods, key=_ALLOW.index)))


_ALL: Final[tuple[Dialect, ...]] = ("1.2", "1.5", "1.12")


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template)) + "/?")


def _literal(template: str) -> int:
    return len(re.sub(r"\{\w+\}", "", template))


def written(asked: Asked, dialect: Dialect, answer: dict[str, Any] | Listed) -> Said:
    """An entity as JSON. Raises Bare for a client that does not ask for that (there it would get XML)."""
    if JSON not in asked.accept:
        raise Bare(406)
    return Said(200, as_json(dialect, answer), JSON)


def error(dialect: Dialect, failed: Failed) -> Said:
    """An error entity as each dialect writes it."""
    names: dict[str, Any] = {"exception": failed.exception, "message": failed.message, "ressource": failed.resource}
    if dialect != "1.2":
        names = {"resource": failed.resource, "message": failed.message, "exception": failed.exception}
    return Said(failed.status, as_json(dialect, names), JSON)
