"""Where events of servers are taken in, and what becomes of them.

Made by `config.load`; used by `events` and `app`. Always holds: no two sources have one path, none pushes into a
queue that a target serves, and whoever others can reach has a secret, or requests that are signed.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import attrs

from restbroker.config.secret import Secret
from restbroker.config.target import CertFiles, Target
from restbroker.job.event import Filter
from restbroker.job.json_types import Json

_NO_FILTER = Filter()
IqRule = Literal["refuse", "accept"]
"""What becomes of a question of a client (an iq of type get or set), to which the server has to give an answer."""


@attrs.frozen
class Shape:
    """What an event looks like in its job: `fields` beside its members, other `names` for them, and what to `omit`."""

    fields: Mapping[str, Json] = MappingProxyType({})
    names: Mapping[str, str] = MappingProxyType({})
    omit: tuple[str, ...] = ()


@attrs.frozen
class Route:
    """Where an event goes that fits `only`, and of which nothing is `excluded`."""

    queue: str
    job_class: str
    only: Filter = _NO_FILTER
    excluded: Filter = _NO_FILTER
    shape: Shape = Shape()


@attrs.frozen
class EventSource:
    """One source. `window_s`: an event that comes again within it is dropped; None: none is. `own_s`: so is one that
    tells of a message that this broker sent within that time.

    `path`: where servers post; None: nobody posts, the kind fetches by itself. `options`: what only its kind knows,
    and `secrets` those in there.
    """

    name: str
    kind: str
    path: str | None
    queue: str
    job_class: str
    secret: Secret | None = None
    window_s: float | None = None
    own_s: float | None = None
    only: Filter = _NO_FILTER
    excluded: Filter = _NO_FILTER
    shape: Shape = Shape()
    routes: tuple[Route, ...] = ()
    """The first that an event fits takes it; empty: `queue` and `job_class` count."""
    iq: IqRule = "refuse"
    patience_s: float | None = None
    """How long Redis may take until the server is told that nothing was taken; None: two seconds."""
    has_ids: bool = True
    """Whether its events have an id, by which one is known that comes again; if not, by what is in it."""
    options: object = None
    secrets: tuple[Secret, ...] = ()
    more_queues: tuple[tuple[str, str], ...] = ()
    """The queues that its options name, each behind the place where."""
    alone: tuple[str, ...] = ()
    """Users of the target whose events go to one source alone."""
    target_name: str | None = None
    """The target that its options name, which …"""
    target: Target | None = None
    """… is this one."""


@attrs.frozen
class Events:
    """The address to listen on, as host and port, the sources that are taken there, and what it shows with TLS."""

    listen: tuple[str, int]
    sources: tuple[EventSource, ...]
    tls: CertFiles | None = None
