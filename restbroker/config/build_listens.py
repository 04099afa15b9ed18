"""Judges where one process listens for different things. Called by `config.build`.

Always holds: two services of one process cannot want the same port, as far as addresses tell without a look-up; without
this the second would not start while the broker works. Stats and HealthBind are judged against the others only.
"""

from collections.abc import Iterator
from typing import Final

from restbroker.config.keys import Keys
from restbroker.config.review import Review
from restbroker.config.urls import is_loopback

_ANY: Final = ("0.0.0.0", "::")  # noqa: S104 (nothing is bound to it here)


def judge_listens(keys: Keys, review: Review) -> None:
    """Refuses `Roster.Listen` and `Events.Listen` where something else of the same process listens."""
    taken = list(_others(keys))
    for place, bind in _sections(keys):
        for other, bound in taken:
            if _clash(bind, bound):
                host, port = bind
                at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                review.refuse(place, f"{at} is taken by {review.named(other)}; give each its own port.")
        taken.append((place, bind))


def _others(keys: Keys) -> Iterator[tuple[str, tuple[str, int]]]:
    if keys.stats:
        yield "StatsPort", (keys.stats_bind, keys.stats_port)
    if keys.health_bind is not None:
        yield "HealthBind", keys.health_bind


def _sections(keys: Keys) -> Iterator[tuple[str, tuple[str, int]]]:
    if keys.events is not None:
        yield "Events.Listen", keys.events.listen
    # Without Serve another process listens there, maybe on another machine.
    if keys.roster is not None and keys.roster.served:
        yield "Roster.Listen", keys.roster.bind


def _clash(one: tuple[str, int], other: tuple[str, int]) -> bool:
    if one[1] != other[1] or one[1] == 0:
        return False
    hosts = one[0].lower(), other[0].lower()
    if hosts[0] == hosts[1]:
        return True
    if "localhost" in hosts:
        return all(is_loopback(host) or host in _ANY for host in hosts)
    is_same_family = (":" in hosts[0]) == (":" in hosts[1])
    return is_same_family and any(host in _ANY for host in hosts)
