"""The pauses of a target, and its rate limit for jobs that start long after their fetch; both over all processes.

Called by probers, which pause and resume for breakers, and by workers (`charge`); pauses that people make are in
`store.pauses`. Always holds: Redis' own clock counts; one reason for a pause never ends another's; jobs in progress
finish.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from restbroker.store.client import Client, integer, mapping, microseconds
from restbroker.store.jobs import Limits
from restbroker.store.pauses import until_us_of

Reason: TypeAlias = Literal["operator", "denied", "retry_after"]


def pause(client: Client, target: str, reason: Reason, for_s: float | None) -> None:
    """Stop fetching for a target in every process, for `for_s` seconds; None: until `resume`.

    A pause that exists for the same reason gets longer and never shorter. Raise `StoreUnavailable`: it may be paused
    all the same; the same call again is right.
    """
    for_us = "" if for_s is None else max(0, round(for_s * 1e6))
    client.run("pause", [client.keys.pause(target)], [reason, for_us])


def resume(client: Client, target: str, reason: Reason) -> None:
    """End the pause that this reason made; the target stays paused for the others.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    client.command("HDEL", client.keys.pause(target), reason)


def pauses(client: Client, target: str) -> Mapping[str, float | None]:
    """Return why a target is paused: reason → seconds left, None for no end. Empty: it is not.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    found, now = client.commands([("HGETALL", client.keys.pause(target)), ("TIME",)])
    now_us = microseconds(now)
    until = {name: until_us_of(text) for name, text in mapping(found).items()}
    remaining_s = {name: (until_us - now_us) / 1e6 if until_us else None for name, until_us in until.items()}
    return {name: left for name, left in remaining_s.items() if left is None or left > 0}


def charge(client: Client, target: str, limits: Limits) -> int:
    """Take one token for a job that starts long after its fetch; return 0, or the milliseconds until the next try.

    Without a rate limit, return 0. Raise `StoreUnavailable`: the token may be gone.
    """
    if limits.emission_us == 0:
        return 0
    return integer(client.run("charge", [client.keys.rate(target)], [limits.emission_us, limits.burst]))
