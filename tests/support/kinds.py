"""Two kinds of targets, and of sources, for what is tested of the configuration without any server."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import attrs

from restbroker.config.events import EventSource
from restbroker.config.form import whole
from restbroker.config.key import Members, key
from restbroker.config.kind import At, SourceDefaults
from restbroker.config.problems import Problems
from restbroker.events import registry
from restbroker.servers.ejabberd.options import Options


@attrs.frozen
class Other:
    deep: bool = key("Deep", "Anything.", False)


@attrs.frozen
class Fetched:
    """Options of a kind that nobody posts to."""

    DEFAULTS: ClassVar[SourceDefaults] = SourceDefaults(is_reader=True)
    depth: Annotated[int, whole(1, 9)] | None = key("Depth", "Anything.")
    token: str | None = key("Token", "A secret.", secret=True)

    def check(self, source: EventSource, at: At, review: Problems) -> EventSource:
        if self.depth is None:
            review.refuse(at("Options.Depth"), "is missing.")
        return source


KINDS: Mapping[str, Members] = {"ejabberd": Options, "other": Other}
SOURCES: Mapping[str, Members] = {**registry.kinds(), "fetched": Fetched}
