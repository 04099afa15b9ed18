"""Redis' answers with types. Used by the other files of the store.

Always holds: an answer of another shape than expected raises `StoreRefused`, so that a proxy or a fork that answers
differently is named instead of crashing far from the cause.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from restbroker.errors import StoreRefused

Argument: TypeAlias = bytes | str | int | float
Reply: TypeAlias = int | bytes | None | list["Reply"]
"""An answer in RESP2: numbers, bytes, nil, lists of these."""
_LONGEST_NUMBER = 20
"""The most characters of a number of 64 bits, with its sign."""


def integer(reply: Reply) -> int:
    """Return a number, also one that is stored as text; nil is 0. Raise `StoreRefused` for anything else."""
    match reply:
        case int():
            return reply
        case None:
            return 0
        case bytes() if len(reply) <= _LONGEST_NUMBER and reply.removeprefix(b"-").isdigit():
            return int(reply)
        case _:
            raise unexpected_reply("a number", reply)


def text(reply: Reply) -> str:
    """Return bytes as text, with escapes for bytes that are no UTF-8. Raise `StoreRefused` for anything but bytes."""
    return raw(reply).decode("utf-8", "backslashreplace")


def raw(reply: Reply) -> bytes:
    """Return bytes, unchanged. Raise `StoreRefused` for anything else."""
    if isinstance(reply, bytes):
        return reply
    raise unexpected_reply("bytes", reply)


def items(reply: Reply, least: int = 0) -> list[Reply]:
    """Return a list of at least `least` items. Raise `StoreRefused` for anything else."""
    if isinstance(reply, list) and len(reply) >= least:
        return reply
    raise unexpected_reply(f"a list of {least} or more" if least else "a list", reply)


def number(reply: Reply) -> float:
    """Return a score, as Redis writes it; it may be infinite. Raise `StoreRefused` for anything else."""
    try:
        return float(raw(reply))
    except ValueError:
        raise unexpected_reply("a number", reply) from None


def members(reply: Reply) -> list[tuple[bytes, float]]:
    """Return the members of a sorted set with their scores, from a list that has each score behind its member.

    Raise `StoreRefused` for anything else.
    """
    flat = items(reply)
    if len(flat) % 2:
        raise unexpected_reply("members and scores", reply)
    return [(raw(member), number(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]


def pair(reply: Reply) -> tuple[Reply, Reply]:
    """Return the two items of a list. Raise `StoreRefused` for anything else."""
    match reply:
        case [first, second]:
            return first, second
        case _:
            raise unexpected_reply("a list of 2", reply)


def microseconds(reply: Reply) -> int:
    """Return the server's clock (epoch microseconds) from an answer to TIME. Raise `StoreRefused` for others."""
    seconds, micros = pair(reply)
    return integer(seconds) * 1_000_000 + integer(micros)


def names(reply: Reply) -> frozenset[str]:
    """Return a set of texts. Raise `StoreRefused` for anything else."""
    return frozenset(text(item) for item in items(reply))


def mapping(reply: Reply) -> Mapping[str, bytes]:
    """Return field → value, from the list of both in turn that RESP2 has. Raise `StoreRefused` for anything else."""
    flat = items(reply)
    if len(flat) % 2:
        raise unexpected_reply("fields and values", reply)
    return {text(field): raw(value) for field, value in zip(flat[::2], flat[1::2], strict=True)}


def counts(reply: Reply) -> Mapping[str, int]:
    """Return a mapping of field to number from a RESP2 reply `[field, number, field, number, …]`.

    Raise `StoreRefused` for anything else.
    """
    return {field: integer(value) for field, value in mapping(reply).items()}


def as_fields(values: Mapping[str, Argument]) -> Sequence[Argument]:
    """Return fields and values in turn, for a command's arguments: the reverse of `mapping`."""
    return [part for pair in values.items() for part in pair]


def unexpected_reply(wanted: str, reply: Reply) -> StoreRefused:
    """Return the error to raise for an answer that is not what `wanted` describes."""
    found = f"a list of {len(reply)}" if isinstance(reply, list) else type(reply).__name__
    return StoreRefused(
        f"Redis answered {found} where {wanted} was expected.",
        "Check that RedisURL names a Redis >= 7.0 or Valkey >= 7.2, and that its keys are not used for other things.",
    )


def as_score(at_s: float) -> str:
    """Return a time (epoch seconds) as Sidekiq writes it.

    It has 16 digits: Sidekiq Web names entries by score, which must survive its printing.
    """
    return f"{at_s:.6f}"
