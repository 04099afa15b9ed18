"""Checks a source that is a component, and suggests lines of its server's own configuration.

Called by `events.registry`. Always holds: the suggested lines are whole blocks that ejabberd 23.01 or Prosody 0.12
accepts (tried), without the password. Nothing connects with the component's own name, since a second connection would
take a share of the copies; how that one fares, the processes that read say in `states`. Where none reads, or one by
other options, a name that nobody configured shows whether the listener is there, and whether it lets anyone in.
"""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from typing import Final

import attrs
import trio

from restbroker.config.events import EventSource
from restbroker.config.urls import is_loopback
from restbroker.servers.component.connection import open_stream
from restbroker.servers.component.options import ROOM_LIFE, Options, digests_of, host_of
from restbroker.servers.findings import Cause, Finding, Problem, Texts, findings_of, moment, ok, problem_of
from restbroker.store.sources import SourceState

_AREA: Final = "Events"
_TEXTS: Final = Texts.beside(__file__)
_WHY: Final = "The server's events do not become jobs."
_CAUSES: Final[dict[str, Cause]] = {"ComponentAway": "target", "ComponentDenied": "refused"}


def check(source: EventSource, states: Sequence[SourceState] = ()) -> Iterator[Finding]:
    """Yield what `states`, those of the reading processes, say; without any, what the listener does.

    It blocks and runs an event loop of its own: do not call it in a thread that has one.
    """
    options = source.options
    assert isinstance(options, Options)  # noqa: S101  as its options judged it
    if not states:
        yield from trio.run(_try_unknown_name, source, options)
        return
    host = host_of(options.name, options.hosts)
    if host is None and options.server.looks_up:
        yield _TEXTS.finding(_AREA, "ForeignName", source=source.name, name=options.name)
    mine = {"name in Sources": source.name, "Kind": source.kind, **digests_of(source)}
    unlike = [_unlike(mine, state) for state in states]
    name = options.name if host is None else f"{options.name}, a subdomain of {host}"
    for state, keys in zip(states, unlike, strict=True):
        yield from _check_state(source.name, state, name, keys)
    if options.server.looks_up and is_loopback(options.address[0]) and not _is_here(options.name):
        yield _TEXTS.finding(_AREA, "NameElsewhere", source=source.name, name=options.name)
    if not set(ROOM_LIFE).isdisjoint(options.takes):
        case = "RoomCame" if (room_s := max(state.room_s for state in states)) else "EventNotTested-rooms"
        yield _TEXTS.finding(_AREA, case, source=source.name, at=moment(room_s))
    if "push" in options.takes:
        yield from _check_pushing(source, states)
    if any(unlike):
        yield from trio.run(_try_unknown_name, source, options)
    yield from findings_of(states, (), _WHY, _CAUSES)


def is_same(source: EventSource, state: SourceState) -> bool:
    """Tell whether this is a state of the same component, under whatever name of a source."""
    return state.options.get("Name") == digests_of(source)["Name"]


def _unlike(mine: Mapping[str, str], state: SourceState) -> Sequence[str]:
    """Return the options, as `mine` has them, that the process of this state has otherwise, as far as it says so."""
    theirs = {"name in Sources": state.source, "Kind": state.kind, **state.options}
    return [name for name, digest in mine.items() if theirs.get(name, digest) != digest]


def _check_state(source: str, state: SourceState, name: str, unlike: Sequence[str]) -> Iterator[Finding]:
    """Yield what a state says for itself. `name`: of the component; `unlike`: what its process has otherwise."""
    if unlike:
        keys = ", ".join(unlike)
        yield _TEXTS.finding(_AREA, "ComponentDiffers", source=source, process=state.process, keys=keys)
    elif state.is_reading:
        last = f"the last event came at {moment(state.event_s)}" if state.event_s else "no event came yet"
        beat = f"its last heartbeat at {moment(state.heartbeat_s)}"
        yield ok(_AREA, "Component", f"Source {source}: {state.process} reads as {name}; {last}; {beat}.")
    elif not state.code:
        yield ok(_AREA, "Component", f"Source {source}: {state.process} waits: {state.message}.")
    if state.notice:
        yield _TEXTS.finding(_AREA, "ComponentPush", source=source, notice=state.notice)


def _check_pushing(source: EventSource, states: Sequence[SourceState]) -> Iterator[Finding]:
    """Yield what may cost notifications or registrations."""
    if len([state for state in states if not state.code]) == 1:
        yield _TEXTS.finding(_AREA, "OneReader", source=source.name)
    for route in source.routes or (source,):
        takes_push = not route.only.types or "push" in route.only.types
        if route.handover.target and takes_push and "raw" not in route.shape.omit:
            yield _TEXTS.finding(_AREA, "SecretsSent", source=source.name, target=route.handover.target)


def _is_here(name: str) -> bool:
    with suppress(OSError):
        return all(is_loopback(str(address[0])) for *_, address in socket.getaddrinfo(name, None))
    return False


def suggest(source: EventSource, sources: Sequence[EventSource]) -> str:
    """Return the lines for all `sources` at this source's listener, with comments that say what to know about them."""
    options = source.options
    assert isinstance(options, Options)  # noqa: S101  as its options judged it
    host, port = options.address
    lines = options.server.lines
    beside = {source.name: source.options for source in sources if isinstance(source.options, Options)}
    same = {
        name: other
        for name, other in beside.items()
        if (other.address, other.server) == (options.address, options.server)
    }
    most = min(other.limit_bytes for other in same.values())
    copied = ", ".join(f'"{other.name}"' for other in same.values() if set(other.takes) != {"push"})
    return lines["plain"].format(
        sources=" and ".join(same),
        names=" ".join(other.name for other in same.values()),
        most=most,
        least=most // len("&apos;"),
        port=port,
        ip=host if is_loopback(host) and host != "localhost" else "THE ADDRESS",
        tls=lines["tls"].format(host=host) if options.is_tls else "",
        each="".join(lines["each"].format(name=other.name) for other in same.values()),
        copies=lines["copies"].format(names=copied) if copied else "",
        rooms=lines["rooms"].format(target=source.target_name or "the API") if options.rooms else "",
        push=lines["push"] if any("push" in other.takes for other in same.values()) else "",
    )


async def _try_unknown_name(source: EventSource, options: Options) -> list[Finding]:
    """Return what is wrong if the listener does not answer, or takes a name that it cannot know."""
    name = f"restbroker-check-{token_hex(4)}.{options.hosts[0]}"
    try:
        stream = await open_stream(attrs.evolve(options, name=name))
    except Problem as problem:
        if problem.code != "ComponentAway":
            return []  # as it should be; what is wrong with the own name or password, its reader says
        return [problem_of(source.name, problem, _WHY, _CAUSES)]
    await stream.aclose()
    return [_TEXTS.finding(_AREA, "AnyName", source=source.name, where=stream.where, name=options.name)]
