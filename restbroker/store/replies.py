"""Redis' answers with types. Used by the other files of the store.

Always holds: an answer of another shape than expected raises `StoreRefused`, so that a proxy or a fork that answers
differently is named instead of crashing far from the cause.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from restbroker.errors import StoreRefused

Argument: TypeAlias = bytes | str | int | float
Reply: TypeAlias = int | bytes | None | list["Reply"]
"""RESP2: numbers, bytes, nil, lists of these."""
_LONGEST_NUMBER = 20
"""Of 64 bits, with its sign."""


def integer(reply: Reply) -> int:
    """A number, also one that is stored as text; nil is 0."""
    match reply:
        case int():
            return reply
        case None:
            return 0
        case bytes() if len(reply) <= _LONGEST_NUMBER and reply.removeprefix(b"-").isdigit():
            return int(reply)
        case _:
            raise unexpected("a number", reply)


def text(reply: Reply) -> str:
    """Bytes as text; bytes that are no UTF-8 are kept visible."""
    return raw(reply).decode("utf-8", "backslashreplace")


def raw(reply: Reply) -> bytes:
    """Bytes, unchanged."""
    if isinstance(reply, bytes):
        return reply
    raise unexpected("bytes", reply)


def items(reply: Reply, least: int = 0) -> list[Reply]:
    """A list of so many at least."""
    if isinstance(reply, list) and len(reply) >= least:
        return reply
    raise unexpected(f"a list of {least} or more" if least else "a list", reply)


def number(reply: Reply) -> float:
    """A score, as Redis writes it; it may be infinite."""
    try:
        return float(raw(reply))
    except ValueError:
        raise unexpected("a number", reply) from None


def members(reply: Reply) -> list[tuple[bytes, float]]:
    """Members of a sorted set, each with its score behind it."""
    flat = items(reply)
    if len(flat) % 2:
        raise unexpected("members and scores", reply)
    return [(raw(member), number(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]


def pair(reply: Reply) -> tuple[Reply, Reply]:
    """A list of two."""
    match reply:
        case [first, second]:
            return first, second
        case _:
            raise unexpected("a list of 2", reply)


def microseconds(reply: Reply) -> int:
    """The server's clock, as TIME has it."""
    seconds, micros = pair(reply)
    return integer(seconds) * 1_000_000 + integer(micros)


def names(reply: Reply) -> frozenset[str]:
    """A set of texts."""
    return frozenset(text(item) for item in items(reply))


def mapping(reply: Reply) -> Mapping[str, bytes]:
    """Fields and values, as RESP2 lists them."""
    flat = items(reply)
    if len(flat) % 2:
        raise unexpected("fields and values", reply)
    return {text(field): raw(value) for field, value in zip(flat[::2], flat[1::2], strict=True)}


def counts(reply: Reply) -> Mapping[str, int]:
    """Fields and numbers."""
    return {field: integer(value) for field, value in mapping(reply).items()}


def as_fields(values: Mapping[str, Argument]) -> Sequence[Argument]:
    """The reverse of `mapping`, for a command's arguments."""
    return [part for pair in values.items() for part in pair]


def unexpected(wanted: str, reply: Reply) -> StoreRefused:
    """What to raise of an answer that is not what was wanted."""
    found = f"a list of {len(reply)}" if isinstance(reply, list) else type(reply).__name__
    return StoreRefused(
        f"Redis answered {found} where {wanted} was expected.",
        "Check that RedisURL names a Redis >= 7.0 or Valkey >= 7.2, and that its keys are not used for other things.",
    )


def as_score(at_s: float) -> str:
    """A time as Sidekiq writes it. 16 digits: Sidekiq Web names entries by score, which must survive its printing."""
    return f"{at_s:.6f}"
