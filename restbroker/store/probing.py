"""Which process sends a probe for all, and its result. Used by `broker.prober`.

Always holds: a lease ends by itself, by Redis' clock; each call may be repeated after a lost answer; a full Redis
grants leases too, since its jobs could not be delivered otherwise. A lease is no lock: a process that was suspended may
probe after its lease ran out. Texts are never logged.
"""

from typing import TypeAlias

import attrs

from restbroker.store.client import Client, integer, items, raw

LONGEST_TEXT_BYTES = 4096


@attrs.frozen
class ProbeGranted:
    """The caller has the lease: send the probe, then call `publish`."""


@attrs.frozen
class ProbeResult:
    """A process probed `age_ms` milliseconds ago by Redis' clock, and `text` is its result."""

    text: bytes = attrs.field(repr=False)
    age_ms: int


@attrs.frozen
class ProbeBusy:
    """Another process is probing."""


ProbeClaim: TypeAlias = ProbeGranted | ProbeResult | ProbeBusy


def claim(client: Client, name: str, owner: str, ttl_ms: int) -> ProbeClaim:
    """Return the last result of the probe `name` while it is valid, to its publisher too; else the lease.

    `owner` names the caller. `ttl_ms`: how long the probe may take (milliseconds); then another process gets the lease.
    Return `ProbeBusy` while another process has it. Raise `StoreUnavailable` or `StoreRefused`.
    """
    answer = items(
        client.run("claim_probe", [client.keys.lease(name), client.keys.probe_result(name)], [owner, max(1, ttl_ms)])
    )
    match answer:
        case [b"TOLD", text, age_ms]:
            return ProbeResult(raw(text), integer(age_ms))
        case [b"YOURS"]:
            return ProbeGranted()
        case _:
            return ProbeBusy()


def publish(client: Client, name: str, owner: str, text: bytes, ttl_ms: int) -> bool:
    """End the owner's lease with its result, valid for `ttl_ms` milliseconds. False: the lease was over; it is dropped.

    Raise `StoreUnavailable` or `StoreRefused`, and ValueError for more than `LONGEST_TEXT_BYTES`.
    """
    if len(text) > LONGEST_TEXT_BYTES:
        raise ValueError(f"A result of {len(text)} bytes is too long to report; at most {LONGEST_TEXT_BYTES}.")
    keys = [client.keys.lease(name), client.keys.probe_result(name)]
    return client.run("publish_probe", keys, [owner, max(1, ttl_ms), text]) == 1


def milliseconds(seconds: float) -> int:
    """Return seconds as Redis needs them: whole milliseconds, and at least one."""
    return max(1, round(seconds * 1000))
