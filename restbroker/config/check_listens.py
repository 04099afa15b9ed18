"""Judges where one process listens for different things. Called by `config.core`.

Always holds: two services of one process cannot want the same port, as far as addresses tell without a look-up; without
this the second would not start while the broker works.
"""

from collections.abc import Mapping
from typing import Final

from restbroker.config.review import Review
from restbroker.config.urls import is_loopback

_ANY: Final = ("0.0.0.0", "::")  # noqa: S104 (nothing is bound to it here)


def check_listens(
    others: Mapping[str, tuple[str, int] | None], sections: Mapping[str, tuple[str, int] | None], review: Review
) -> None:
    """Refuses an address of `sections`, by their places, where something else of the same process listens.

    None: nothing listens there. `others` are judged against the sections only.
    """
    taken = {place: bind for place, bind in others.items() if bind is not None}
    for place, bind in sections.items():
        if bind is None:
            continue
        for other, bound in taken.items():
            if _clash(bind, bound):
                host, port = bind
                at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                review.refuse(place, f"{at} is taken by {review.named(other)}; give each its own port.")
        taken[place] = bind


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
