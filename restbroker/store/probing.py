"""Which process sends a probe for all, and its result. Used by `broker.prober`.

Always holds: a lease ends by itself, by Redis' clock; each call may be repeated after a lost answer; a full Redis
grants leases too, since its jobs could not be delivered otherwise. A lease is no lock: a process that was suspended may
probe after its lease ran out. Texts are never logged.
"""

from typing import TypeAlias

from restbroker.light import field, frozen
from restbroker.store.client import Client, integer, items, raw


@frozen
class ProbeGranted:
    """The caller has the lease: send the probe, then call `publish`."""


@frozen
class ProbeResult:
    """A process probed `age_ms` milliseconds ago by Redis' clock, and `text` is its result."""

    text: bytes = field(repr=False)
    age_ms: int


@frozen
class ProbeBusy:
    """Another process is probing."""


ProbeClaim: TypeAlias = ProbeGranted | ProbeResult | ProbeBusy


def claim(client: Client, name: str, owner: str, ttl_s: float) -> ProbeClaim:
    """Return the last result of the probe `name` while it is valid, to its publisher too; else the lease.

    `owner` names the caller. `ttl_s`: how long the probe may take; then another process gets the lease.
    Return `ProbeBusy` while another process has it. Raise `StoreUnavailable` or `StoreRefused`.
    """
    match items(client.run("claim_probe", _keys(client, name), [owner, _milliseconds(ttl_s)])):
        case [b"TOLD", text, age_ms]:
            return ProbeResult(raw(text), integer(age_ms))
        case [b"YOURS"]:
            return ProbeGranted()
        case _:
            return ProbeBusy()


def publish(client: Client, name: str, owner: str, text: bytes, ttl_s: float) -> bool:
    """End the owner's lease with its result, valid for `ttl_s` seconds. False: the lease was over; it is dropped.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return client.run("publish_probe", _keys(client, name), [owner, _milliseconds(ttl_s), text]) == 1


def _keys(client: Client, name: str) -> list[str]:
    return [client.keys.lease(name), client.keys.probe_result(name)]


def _milliseconds(seconds: float) -> int:
    """Return seconds as Redis needs them: whole milliseconds, and at least one."""
    return max(1, round(seconds * 1000))
