"""Judges where one process listens for different things. Called by `config.core`.

Always holds: two services of one process cannot want the same port, as far as addresses tell without a look-up; without
this the second would not start while the broker works. Stats and HealthBind are judged against the others only.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from restbroker.config.review import Review
from restbroker.config.urls import is_loopback

if TYPE_CHECKING:  # it imports this module
    from restbroker.config.core import Config

_ANY: Final = ("0.0.0.0", "::")  # noqa: S104 (nothing is bound to it here)


def judge_listens(config: "Config", review: Review) -> None:
    """Refuses `Roster.Listen` and `Events.Listen` where something else of the same process listens."""
    taken = list(_others(config))
    for place, bind in _sections(config):
        for other, bound in taken:
            if _clash(bind, bound):
                host, port = bind
                at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                review.refuse(place, f"{at} is taken by {review.named(other)}; give each its own port.")
        taken.append((place, bind))


def _others(config: "Config") -> Iterator[tuple[str, tuple[str, int]]]:
    if config.stats:
        yield "StatsPort", (config.stats_bind, config.stats_port)
    if config.health_bind is not None:
        yield "HealthBind", config.health_bind


def _sections(config: "Config") -> Iterator[tuple[str, tuple[str, int]]]:
    if config.events is not None:
        yield "Events.Listen", config.events.listen
    # Without Serve another process listens there, maybe on another machine.
    if config.roster is not None and config.roster.served:
        yield "Roster.Listen", config.roster.bind


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
