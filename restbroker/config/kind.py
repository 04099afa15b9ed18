"""The defaults of a kind of target or source, and its checks of a configured target or source.

`config.check_targets` and `config.check_events` call the checks of the kind's options. Always holds: options without a
check take the target or source as it is. A kind that needs other defaults than most gives its options `DEFAULTS`.
"""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from restbroker.config.key import Members, UnusableKind
from restbroker.config.problems import Problems
from restbroker.config.target import Target
from restbroker.config.values import describe
from restbroker.light import frozen

if TYPE_CHECKING:
    from restbroker.config.events import EventSource

At: TypeAlias = Callable[[str], str]
"""Return the place of a member, such as `URL`, as the operator wrote it."""


@frozen
class Defaults:
    """What a kind uses where the target does not say, and whether its `Domain` is the default of the header `Host`.

    `config init` proposes `url`, where servers of the kind usually are, and `login`, what a user's name looks like
    there (without a domain if the server takes the name alone); empty or None: not known. `takes_token`: it asks for a
    bearer token where there is no login.
    """

    concurrency: int = 20
    timeout_s: float = 10.0
    idle_expiry_s: float = 240.0
    domain_is_host: bool = True
    url: str = ""
    login: str | None = None
    takes_token: bool = False


def defaults_of(options: Members) -> Defaults:
    """Return the defaults of the kind of target that has these options."""
    found = getattr(options, "DEFAULTS", None)
    return found if isinstance(found, Defaults) else Defaults()


@runtime_checkable
class TargetCheck(Protocol):
    """Options that check their target."""

    def check(self, target: Target, at: At, problems: Problems) -> Target:
        """Return the target as it is to be used; add problems and notes about it to `problems`."""
        ...


@frozen
class SourceDefaults:
    """What holds for every source of a kind.

    `path` is where servers post if the source does not say; None: the source has to say it. `is_reader`: no server
    posts, the source fetches events itself. `is_signed`: each request proves by itself who made it, so that the source
    takes no `Secret`. `has_ids`: see `EventSource`. `target_kind` is the kind of the target that a source names; None:
    it names none. `check_reads`: where no process reads the source, a check does so for a moment. `takes_below`: what
    is posted below its path is its, too. `has_own_types`: its types are any words. `may_command`: its events may become
    commands of any target, since no server of XMPP reports them itself.
    """

    path: str | None = None
    is_reader: bool = False
    is_signed: bool = False
    has_ids: bool = True
    target_kind: str | None = None
    check_reads: bool = False
    takes_below: bool = False
    has_own_types: bool = False
    may_command: bool = False


def source_defaults_of(options: Members) -> SourceDefaults:
    """Return the defaults of the kind of source that has these options."""
    found = getattr(options, "DEFAULTS", None)
    return found if isinstance(found, SourceDefaults) else SourceDefaults()


@runtime_checkable
class SourceCheck(Protocol):
    """Options that check their source."""

    def check(self, source: "EventSource", at: At, problems: Problems) -> "EventSource":
        """Return the source as it is to be used; add problems and notes about it to `problems`."""
        ...


def unknown_kind(kinds: Mapping[str, Members], found: str, options: object, error: KeyError | None = None) -> str:
    """Return the text of the problem for `found`, which is none of the kinds; `error` is what looking it up raised.

    If there are `options`, the text adds that they are checked only after that.
    """
    unjudged = " Its Options are checked after that." if options else ""
    why = error.why if isinstance(error, UnusableKind) else expected_kind(kinds, found)
    return f"{why}{unjudged}"


def expected_kind(kinds: Iterable[str], found: str) -> str:
    """Return the text of the problem for `found` where one of these kinds is expected."""
    known = ", ".join(f'"{kind}"' for kind in kinds)
    near = get_close_matches(found.lower()[:60], list(kinds), n=1)
    meant = f'; did you mean "{near[0]}"?' if near else "."
    return f"expected one of {known}, found {describe(found)}{meant}"


def note_no_login(target: Target, hint: str, problems: Problems) -> None:
    """Add the note that no login for the target is configured."""
    problems.note("NoCredentials", f"No login for the server at {target.url} is given.", hint)


def with_broadcasts(patterns: tuple[str, ...], *own: str) -> tuple[str, ...]:
    """Return the patterns of `AtMostOnce`, with the server's own names of broadcasts if they contain `announce_*`.

    Thus the default also covers the broadcasts of a server that calls them otherwise.
    """
    return (*patterns, *(name for name in own if name not in patterns)) if "announce_*" in patterns else patterns


def with_slots(slots: Mapping[str, int], usual: Mapping[str, int]) -> Mapping[str, int]:
    """Return the operator's slots and those usual for a kind, unless one of the operator's covers the command."""
    missing = {name: at_once for name, at_once in usual.items() if not any(fnmatchcase(name, slot) for slot in slots)}
    return {**slots, **missing}
