"""Makes servers emit an event, and waits for it at each source: which half is broken is a finding.

Called by `restbroker check --events`. Always holds: the event becomes no job, nor does one that comes up to an hour
later; messages go only to addresses that the operator names; no finding holds a secret.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from secrets import token_hex
from typing import Final

import attrs
import trio

from restbroker.config.core import Config
from restbroker.config.events import EventSource
from restbroker.config.target import Target
from restbroker.config.target_secrets import remove_secrets
from restbroker.config.values import duration_text
from restbroker.errors import ConfigError, StoreRefused, StoreUnavailable
from restbroker.events import registry as sources
from restbroker.job.command import Call
from restbroker.job.event import mark_of_test, text_of_test
from restbroker.job.outcome import Delivered, Denied, Outcome
from restbroker.operate.check.config import TEXTS
from restbroker.operate.check.services import why_unserved
from restbroker.operate.connect import open_store, store_settings
from restbroker.operate.events import ADD_SOURCE, NO_SOURCE
from restbroker.servers import registry
from restbroker.servers.contract import DirectLink, Ports
from restbroker.servers.event_contract import Emission, Parties
from restbroker.servers.findings import Cause, Finding, ok
from restbroker.servers.in_redis import LoginsInRedis, logins_of
from restbroker.store import events as store
from restbroker.store.client import Client, open_client
from restbroker.store.connection import Connection
from restbroker.transport.client import open_transport
from restbroker.transport.errors import MaybeSent, NotSent

_AREA: Final = "Events"
_PAUSE_S: Final = 0.1
_GIVE_IT: Final = "Give the server this source's Secret: what it sent is missing or wrong (EventUnauthorized)."
_SEE_WARNING: Final = "The broker's warning EventUnauthorized says why."

_finding = partial(TEXTS.finding, _AREA)


@attrs.frozen
class EventTest:
    """How to test. `targets`: the servers that emit an event; empty: all that fit.

    `source`: the only source to test; None: all.
    """

    parties: Parties
    targets: Sequence[str] = ()
    within_s: float = 10.0
    source: str | None = None


def check_events(config: Config, test: EventTest) -> Iterator[Finding]:
    """Yield for each source whether its test event arrived.

    Each takes as long as its command, and up to `within_s` more.
    """
    if config.events is None:
        yield _finding("EventNotTested-none", message=NO_SOURCE, hint=ADD_SOURCE)
        return
    try:
        with open_store(config) as client:
            for source in config.events.sources:
                if test.source in (None, source.name):
                    yield trio.run(try_source, client, config, source, test)
    except (StoreUnavailable, StoreRefused) as error:
        yield _finding("EventNotTested-store", message=error.message, hint=error.hint)


async def try_source(client: Client, config: Config, source: EventSource, test: EventTest) -> Finding:
    """Return whether an event of this source arrives; where no process serves it, none is sent.

    Raise `StoreUnavailable` or `StoreRefused`. If it is cancelled, the mark that identifies the test event stays in
    Redis for an hour.
    """
    assert config.events is not None  # noqa: S101  it has this source
    if (kind := sources.emits(source.kind)) is None:
        return _finding("EventNotTested-kind", source=source.name, kind=source.kind)
    named = test.targets or ([] if source.target_name is None else [source.target_name])
    fitting = [one for one in config.targets if one.kind == kind and one.name in (named or [one.name])]
    if len(fitting) != 1:
        return _ambiguous(source, kind, [one.name for one in fitting])
    (target,) = fitting
    number = token_hex(16)
    text = text_of_test(number)
    mark = mark_of_test(text)
    assert mark is not None  # noqa: S101  it was made a line above
    try:
        emission = sources.emission(source, target, test.parties, text)
        if (why := why_unserved(config.events, source)) is not None:
            return _finding("EventNotTested-unserved", source=source.name, fault=why)
        store.expect_test(client, mark)
        last_refusal = store.read_refusal(client, source.name)
        began_s = time.monotonic()
        refused = _refusal(source, target, emission, await _send(config, target, emission, number))
    except ConfigError as error:
        return _finding("EventNotTested-config", source=source.name, fault=error.message, hint=error.hint)
    except (NotSent, MaybeSent) as error:
        hint = "`restbroker check` says more about the target."
        return _failure(source, target, remove_secrets(error.message, target) or "", hint=hint, cause="target")
    if refused is not None:
        return refused
    found = await _wait(client, mark, source.name, within_s=test.within_s)
    if found is None:
        took, more, hint = duration_text(test.within_s), "", emission.look_at
        if store.read_refusal(client, source.name) not in (None, last_refusal):
            more = " Meanwhile the running broker refused a request to this source as unauthorized."
            hint = f"{_GIVE_IT if source.secret is not None else _SEE_WARNING} If that was another's: {hint}"
        return _finding("EventLost", source=source.name, target=target.name, took=took, more=more, hint=hint)
    return _came(source, target, found, time.monotonic() - began_s)


async def _send(config: Config, target: Target, emission: Emission, number: str) -> Outcome:
    http, logins = open_transport(target), logins_of(target, lambda: Connection(open_client(store_settings(config))))
    try:
        connector = registry.open_connector(target, Ports(lambda _: None, time.time, http, {LoginsInRedis: logins}))
        call = Call(emission.command, host=target.default_host, timeout_s=target.timeout_s, identity=number)
        return await connector.deliver(call, DirectLink(http))
    finally:
        with trio.CancelScope(shield=True):
            await http.aclose()
            if logins is not None:
                await logins.aclose()


def _refusal(source: EventSource, target: Target, emission: Emission, outcome: Outcome) -> Finding | None:
    if isinstance(outcome, Delivered):
        return None
    message, hint = (remove_secrets(text, target) or "" for text in (outcome.reason.message, outcome.reason.hint))
    if isinstance(outcome, Denied):
        return _failure(source, target, message, hint=hint, cause="refused")
    # An error of anyone who it went to may be that of the way to the source.
    return _failure(source, target, message, hint=f"{hint} {emission.look_at}".lstrip(), cause="other")


def _failure(source: EventSource, target: Target, message: str, hint: str | None, cause: Cause) -> Finding:
    found = _finding("EventNotSent", source=source.name, target=target.name, fault=message, hint=hint)
    return attrs.evolve(found, cause=cause)


async def _wait(client: Client, mark: str, source: str, *, within_s: float) -> Mapping[str, object] | None:
    """Return what is recorded of the event; None if none came to this source in time."""
    with trio.move_on_after(within_s):
        while True:
            for line in store.read_test_events(client, mark):
                noted: Mapping[str, object] = json.loads(line)
                if noted["source"] == source:
                    return noted
            await trio.sleep(_PAUSE_S)
    return None


def _came(source: EventSource, target: Target, noted: Mapping[str, object], took_s: float) -> Finding:
    sender, receiver = (noted[name] or "an unnamed address" for name in ("from", "to"))
    way, took = f"from {sender} to {receiver}", duration_text(took_s)
    if not noted["queue"]:
        return _finding("EventUnwanted", source=source.name, target=target.name, way=way, took=took)
    then = f"such events go to the queue {noted['queue']} (this one, a test, did not)."
    message = f"Source {source.name}: {target.name} reported a message {way} after {took}"
    return ok(_AREA, "EventCame", f"{message}; {then}")


def _ambiguous(source: EventSource, kind: str, names: Sequence[str]) -> Finding:
    if names:
        return _finding("EventNotTested-servers", source=source.name, names=" and ".join(names))
    return _finding("EventNotTested-server", source=source.name, kind=kind)
