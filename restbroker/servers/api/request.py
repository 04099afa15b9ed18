"""Parts of a request, and the outcome of a job whose request cannot be made. Pure, but for reading secrets.

The connectors make their requests with these. Always holds: nothing of a refused job was sent, and no refusal shows a
value.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias, TypeVar, assert_never
from urllib.parse import quote

import orjson

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Bearer, Credentials, IssuedLogin, Target
from restbroker.errors import ConfigError
from restbroker.job.command import Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Reason, Rejected
from restbroker.servers.api.table import InvalidArguments
from restbroker.transport.message import NotSent, Request

Headers: TypeAlias = tuple[tuple[str, str], ...]


def authorization(login: Credentials) -> Headers:
    """Return the header of this login; raise `ConfigError` if its secret cannot be read or used.

    There is none for None, and for a login by which the server issues tokens: only ejabberd's connector asks for them.
    """
    match login:
        case None | IssuedLogin():
            return ()
        case Basic(user, password):
            return _basic(user, password.reveal())
        case Bearer(token):
            return _bearer(token.reveal())
        case _:
            assert_never(login)


@lru_cache(maxsize=8)
def _basic(user: str, password: str) -> Headers:
    pair = f"{user}:{password}".encode()
    return (("Authorization", "Basic " + base64.b64encode(pair).decode("ascii")),)


@lru_cache(maxsize=8)
def _bearer(text: str) -> Headers:
    if not text or not all("!" <= character <= "~" for character in text):
        raise ConfigError(
            "The bearer token cannot be put into a header: it is empty or has characters beyond visible ASCII.",
            "Put only the token into the setting or its file, without spaces and line breaks.",
        )
    return (("Authorization", f"Bearer {text}"),)


def kept(make: Callable[[], Headers], secrets: Iterable[Secret | None]) -> Callable[[], Headers]:
    """Return a function like `make`, whose headers have these secrets and no others, that makes them only once.

    A secret in a file is read again for each request.
    """
    return (
        make if any(known is not None and known.path is not None for known in secrets) else lru_cache(maxsize=1)(make)
    )


T = TypeVar("T")
_LIMIT_BYTES: Final = 65_536
Pairs: TypeAlias = tuple[tuple[str, str], ...]


def lookup(
    entries: Mapping[str, T], command: Command, target: str, lacking: Mapping[str, str], unknown: str = ""
) -> T | Rejected:
    """Return the command's entry, or the outcome of a job whose command the target does not have.

    `lacking`: hints for commands that need another one or a newer server: command → hint; `unknown`: for all others.
    """
    endpoint = command.endpoint
    if (entry := entries.get(endpoint)) is not None:
        return entry
    hint = lacking.get(endpoint) or unknown or f"`restbroker commands --target {target}` lists them."
    return Rejected(Reason("UnknownCommand", f"The target {target} has no command {endpoint}.", hint))


def guard(make: Callable[[], T], target: str, command: str) -> T | Rejected:
    """Return what `make` returns, or the outcome of a job whose arguments do not fit; raise as `refused` does."""
    try:
        return make()
    except (InvalidArguments, ConfigError) as error:
        return refused(error, target, command)


def refused(error: InvalidArguments | ConfigError, target: str, command: str) -> Rejected:
    """Return the outcome of a job whose arguments do not fit.

    Raise `NotSent` if a secret cannot be read: the job waits until its file is back.
    """
    if isinstance(error, ConfigError):
        raise NotSent(str(error)) from error
    end = "" if str(error).endswith("?") else "."
    hint = f"`restbroker commands --target {target} {command}` lists what the command takes."
    return Rejected(Reason("BadArgument", f"The request cannot be made: {error}{end}", hint))


def unsent(make: Callable[[], T]) -> T:
    """Return what `make` returns; raise `NotSent` in place of `ConfigError`."""
    try:
        return make()
    except ConfigError as error:
        raise NotSent(str(error)) from error


def harmless_request(
    target: Target, path: str, headers: Headers, method: str = "GET", body: bytes = b"", timeout_s: float | None = None
) -> Request:
    """Return a request of restbroker's own: it changes nothing and may be repeated, and its answer is short.

    `path`: whole and encoded. `timeout_s`: the target's time-out if None.
    """
    return Request(
        method,
        path or "/",
        timeout_s or target.timeout_s,
        headers=headers,
        body=body,
        body_limit_bytes=_LIMIT_BYTES,
        repeatable=True,
    )


def path_of(path: str, given: Mapping[str, Json], segment: Callable[[str, str], str]) -> str:
    """Return the path with the arguments in place of each `{name}`.

    `segment(name, text)` returns an argument as one segment, or raises `InvalidArguments`.
    """
    if "{" not in path:
        return path
    parts = path.split("/")
    return "/".join(segment(part[1:-1], str(given[part[1:-1]])) if part.startswith("{") else part for part in parts)


def query_of(names: Iterable[str], given: Mapping[str, Json]) -> Pairs:
    """Return the pairs of the query in the order of the names, leaving out arguments that are not there."""
    return tuple([(name, _plain(given[name])) for name in names if name in given])


def _plain(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def segment(name: str, text: str) -> str:
    """Return an argument as one segment of a path; raise `InvalidArguments` for one that leads to another path."""
    if text in ("", ".", ".."):
        raise InvalidArguments(f'the argument "{name}" becomes a part of the path, and is empty, "." or ".."')
    return quote(text, safe="")


def json_body(value: Json | Mapping[str, Json]) -> bytes:
    """Return the value as JSON."""
    try:
        # Copied: orjson leaves 4 KiB behind a short text, for as long as the request is under way.
        return b"%b" % orjson.dumps(value)
    except TypeError:  # integers beyond 64 bits
        return json.dumps(value, separators=(",", ":")).encode("ascii")
