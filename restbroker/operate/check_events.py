"""Has servers emit an event, and waits for it at each source: which half is broken is a finding.

Called by `restbroker check --events`. Always holds: the event becomes no job, nor does one that comes up to an hour
later; nobody is sent anything but whom the kind of source or the operator names; no finding holds a secret.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from secrets import token_hex
from typing import Final

import attrs
import trio

from restbroker.config.core import Config
from restbroker.config.events import EventSource
from restbroker.config.hidden import without_secrets
from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.errors import ConfigError, StoreRefused, StoreUnavailable
from restbroker.events import registry as sources
from restbroker.job.command import Call
from restbroker.job.event import mark_of_test, text_of_test
from restbroker.job.outcome import Delivered, Denied, Outcome
from restbroker.operate.connect import open_store
from restbroker.servers import registry
from restbroker.servers.contract import Direct, Ports
from restbroker.servers.event_contract import Emission, Parties
from restbroker.servers.findings import Cause, Finding, ok
from restbroker.store import events as store
from restbroker.store.client import Client
from restbroker.transport.client import open_transport
from restbroker.transport.errors import MaybeSent, NotSent

_AREA: Final = "Events"
_PAUSE_S: Final = 0.1
_LOST: Final = "Nothing that this server tells of becomes a job."
_UNKNOWN: Final = "Whether its events come was not tested."


@attrs.frozen
class EventTest:
    """What is asked for. `targets`: by which the servers are made to tell something; empty: whichever fit."""

    parties: Parties
    targets: Sequence[str] = ()
    within_s: float = 10.0


def check_events(config: Config, test: EventTest) -> Iterator[Finding]:
    """What became of an event of each source. Each takes as long as its command, and `within_s`."""
    if config.events is None:
        why = "There is nothing to test."
        yield Finding(
            "problem",
            _AREA,
            "EventNotTested",
            message="No source of events is configured.",
            why=why,
            cure=None,
            cause="config",
        )
        return
    try:
        with open_store(config) as client:
            for source in config.events.sources:
                yield _test_source(client, config, source, test)
    except (StoreUnavailable, StoreRefused) as error:
        yield Finding(
            "problem", _AREA, "EventNotTested", message=error.message, why=_UNKNOWN, cure=error.cure, cause="store"
        )


def _test_source(client: Client, config: Config, source: EventSource, test: EventTest) -> Finding:
    kind = sources.emits(source.kind)
    if kind is None:
        message = (
            f"Source {source.name}: restbroker knows no way to make a server tell something to the kind {source.kind}."
        )
        cure = f"Do something there that it tells of, and watch `restbroker events tail --source {source.name}`."
        return Finding("warning", _AREA, "EventNotTested", message=message, why=_UNKNOWN, cure=cure)
    fitting = [one for one in config.targets if one.kind == kind and one.name in (test.targets or [one.name])]
    if len(fitting) != 1:
        return _ambiguous(source, kind, [one.name for one in fitting])
    (target,) = fitting
    number = token_hex(16)
    text = text_of_test(number)
    mark = mark_of_test(text)
    assert mark is not None  # noqa: S101  it was made a line above
    try:
        emission = sources.emission(source, target, test.parties, text)
        store.expect(client, mark)
        began_s = time.monotonic()
        refused = _refusal(source, target, emission, trio.run(_send, target, emission, number))
    except ConfigError as error:
        message = f"Source {source.name}: {error.message}"
        return Finding(
            "problem", _AREA, "EventNotTested", message=message, why=_UNKNOWN, cure=error.cure, cause="config"
        )
    except (NotSent, MaybeSent) as error:
        cure = "`restbroker check` says more about the target."
        return _failure(source, target, without_secrets(error.message, target) or "", cure=cure, cause="target")
    if refused is not None:
        return refused
    found = _wait(client, mark, source.name, time.monotonic() + test.within_s)
    if found is None:
        took = duration_text(test.within_s)
        message = f"Source {source.name}: {target.name} took the message, and no event of it came within {took}."
        return Finding("problem", _AREA, "EventLost", message=message, why=_LOST, cure=emission.look_at)
    return _came(source, target, found, time.monotonic() - began_s)


async def _send(target: Target, emission: Emission, number: str) -> Outcome:
    http = open_transport(target)
    try:
        connector = registry.open_connector(target, Ports(lambda _: None, time.time, http))
        call = Call(emission.command, host=target.default_host, timeout_s=target.timeout_s, identity=number)
        return await connector.deliver(call, Direct(http))
    finally:
        with trio.CancelScope(shield=True):
            await http.aclose()


def _refusal(source: EventSource, target: Target, emission: Emission, outcome: Outcome) -> Finding | None:
    if isinstance(outcome, Delivered):
        return None
    message, cure = (without_secrets(text, target) or "" for text in (outcome.reason.message, outcome.reason.cure))
    if isinstance(outcome, Denied):
        return _failure(source, target, message, cure=cure, cause="refused")
    # An error of whoever it went to may be that of the way to the source.
    return _failure(source, target, message, cure=f"{cure} {emission.look_at}".lstrip(), cause="other")


def _failure(source: EventSource, target: Target, message: str, cure: str | None, cause: Cause) -> Finding:
    message = f"Source {source.name}: {target.name} did not take the message that it was to tell of. {message}"
    return Finding("problem", _AREA, "EventNotSent", message=message, why=_UNKNOWN, cure=cure, cause=cause)


def _wait(client: Client, mark: str, source: str, until_s: float) -> Mapping[str, object] | None:
    """What is noted of the event; None: none came to this source by then."""
    while True:
        for line in store.came(client, mark):
            noted: Mapping[str, object] = json.loads(line)
            if noted["source"] == source:
                return noted
        if time.monotonic() >= until_s:
            return None
        time.sleep(_PAUSE_S)


def _came(source: EventSource, target: Target, noted: Mapping[str, object], took_s: float) -> Finding:
    message = f"Source {source.name}: {target.name} told of a message after {took_s:.1f} s"
    if noted["queue"]:
        return ok(_AREA, "EventCame", f"{message}; such events go to the queue {noted['queue']}. This one did not.")
    why = f"It went from {noted['from']} to {noted['to']}, whose events Only, Except or Routes leave out."
    cure = "If such events are wanted, correct these, or name other addresses with --from and --to."
    return Finding("note", _AREA, "EventUnwanted", message=f"{message}, and it is not wanted.", why=why, cure=cure)


def _ambiguous(source: EventSource, kind: str, names: Sequence[str]) -> Finding:
    message = f"Source {source.name}: " + (
        f"{' and '.join(names)} may be its server."
        if names
        else f"no target of kind {kind} is there to act on its server."
    )
    cure = "Name the one of its server with --target." if names else f"Add a target of kind {kind} for its server."
    return Finding("problem", _AREA, "EventNotTested", message=message, why=_UNKNOWN, cure=cure, cause="config")
