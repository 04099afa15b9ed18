"""What a kind of target, or of source, has to say of one that is configured.

`config.check_targets` and `config.check_events` ask the kind's options. Always holds: options without such a say take
the target or source as it is. A kind that needs other defaults than most gives its options a `DEFAULTS`.
"""

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import attrs

from restbroker.config.key import Members, UnusableKind
from restbroker.config.problems import Problems
from restbroker.config.target import Target
from restbroker.config.values import describe

if TYPE_CHECKING:
    from restbroker.config.events import EventSource

At: TypeAlias = Callable[[str], str]
"""Names the place of a member, such as `URL`, as the operator wrote it."""


@attrs.frozen
class Defaults:
    """What counts where the target does not say: `Concurrency`, `RequestTimeout`, `IdleExpiry`; and whether its
    `Domain` is what the header `Host` says, where no `HostHeader` is given.

    `config init` proposes `url`, where servers of the kind usually are, and `login`, as logins there look (without a
    domain where the name alone is taken); empty or None: nobody can say.
    """

    concurrency: int = 20
    timeout_s: float = 10.0
    idle_expiry_s: float = 240.0
    domain_is_host: bool = True
    url: str = ""
    login: str | None = None


@runtime_checkable
class _WithDefaults(Protocol):
    """A kind's class of options that says them."""

    DEFAULTS: object


def _with_defaults(options: object) -> object:
    return options.DEFAULTS if isinstance(options, _WithDefaults) else None


def defaults_of(options: Members) -> Defaults:
    """Those of the kind with these options."""
    found = _with_defaults(options)
    return found if isinstance(found, Defaults) else Defaults()


@runtime_checkable
class TargetCheck(Protocol):
    """Options that judge their target."""

    def check(self, target: Target, at: At, review: Problems) -> Target:
        """The target as it is to be used. What is wrong or odd about it becomes a problem or a note in `review`."""
        ...


@attrs.frozen
class SourceDefaults:
    """What is so of each source of a kind.

    `path`: where its servers post if the source does not say; None: it has to. `is_reader`: nobody posts, it fetches by
    itself. `is_signed`: its requests show by themselves who made them, so that it takes no `Secret`. `has_ids`: see
    `EventSource`. `target_kind`: of which kind the target is that it names; None: it names none.
    """

    path: str | None = None
    is_reader: bool = False
    is_signed: bool = False
    has_ids: bool = True
    target_kind: str | None = None


def source_defaults_of(options: Members) -> SourceDefaults:
    """Those of the kind with these options."""
    found = _with_defaults(options)
    return found if isinstance(found, SourceDefaults) else SourceDefaults()


@runtime_checkable
class SourceCheck(Protocol):
    """Options that judge their source."""

    def check(self, source: "EventSource", at: At, review: Problems) -> "EventSource":
        """The source as it is to be used, as `TargetCheck` has it for a target."""
        ...


def unknown_kind(kinds: Mapping[str, Members], found: str, options: object, error: KeyError | None = None) -> str:
    """What is said of a kind that is none of these, of what has these options. `error`: what its look-up raised."""
    unjudged = " Its Options are checked after that." if options else ""
    why = error.why if isinstance(error, UnusableKind) else expected_kind(kinds, found)
    return f"{why}{unjudged}"


def expected_kind(kinds: Iterable[str], found: str) -> str:
    """What is said where one of these kinds is expected."""
    known = ", ".join(f'"{kind}"' for kind in kinds)
    return f"expected one of {known}, found {describe(found)}."


def note_no_login(target: Target, cure: str, review: Problems) -> None:
    """Notes that a target has none."""
    review.note("NoCredentials", f"No login for the server at {target.url} is given.", cure)


def with_broadcasts(patterns: tuple[str, ...], *own: str) -> tuple[str, ...]:
    """What is never sent twice: who holds broadcasts, as the default does, holds those of a server that calls them
    otherwise.
    """
    return (*patterns, *(name for name in own if name not in patterns)) if "announce_*" in patterns else patterns


def with_slots(slots: Mapping[str, int], usual: Mapping[str, int]) -> Mapping[str, int]:
    """The slots with those that a kind usually has. What the operator says counts first."""
    missing = {name: at_once for name, at_once in usual.items() if not any(fnmatchcase(name, one) for one in slots)}
    return {**slots, **missing}
