"""The web app that servers post their events to: each source has its path.

`app` runs it with `serving.runner`. It is a `PlainApp`, without Quart: events share the loop with the deliveries, and
most of what a request costs would be the framework. Always holds: 202 is answered only when Redis has the job, or the
source's filters drop the event; a client that does not show the secret learns nothing, and its body is not read; memory
is bounded; no answer and no line of the log repeats a part of a request; a failure here is answered with 500 and ends
nothing.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote
from weakref import WeakValueDictionary

import attrs
import trio

from restbroker.config.events import EventSource
from restbroker.config.kind import source_defaults_of
from restbroker.errors import StoreRefused, StoreUnavailable, UsageError
from restbroker.events import registry
from restbroker.events.secrets import CurrentSecret, SourceLogin, beginnings
from restbroker.job.event_command import UnfitEvent
from restbroker.light import define, field
from restbroker.servers.event_contract import (
    ANY_TYPE,
    Deliver,
    Forbidden,
    Hook,
    HookRequest,
    MalformedEvent,
    PostAnswer,
    SignedHook,
)
from restbroker.servers.findings import Texts
from restbroker.servers.loops import REFUSAL, came_from_us
from restbroker.serving import plain
from restbroker.serving.plain import HttpRequest, PlainApp
from restbroker.telemetry.events import EventHandled, OperatorWarning, Report
from restbroker.transport.room import FREE_BYTES, SHARE_BYTES, Holding, Room, Share, parsed_bytes

BODY_LIMIT_BYTES: Final = 1024 * 1024
_BODY_S: Final = 10.0
RETRY_AFTER_S: Final = 2
_TEXTS: Final = Texts.beside(__file__)
METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST")
_SIGNED_METHODS: Final = ("OPTIONS", "POST")
"""Those of a signed source: whoever only looks signs nothing."""
_UNPROVEN: Final = "The secret of this source is missing or wrong."
_NOT_THIS_HOST: Final = "This source has no secret, and takes only what names 127.0.0.1, [::1] or localhost as Host."
_NO_ROOM: Final = "There is no memory for it now."
_TOO_MANY_PARTS: Final = f"It has so many small parts that it takes more than {SHARE_BYTES >> 20} MiB to read it."
# So that a sender's ticket can name the job, which `explain` finds.
_JOB: Final = "Restbroker-Job"
_PROBLEM: Final = "application/problem+json"
"""A type that no server takes for an event's: Prosody would send a plain text to the user."""
AT_ONCE: Final = 100
"""The requests of all sources together whose body is read, or that wait for Redis."""
_LEAST: Final = 10
"""The places that a source has at least, however many sources there are."""
_WAIT_S: Final = 10.0
"""Seconds that a request waits for others to be done."""


class QuotaFull(Exception):
    """No place became free in time."""


@define(eq=False)
class Quota:
    """The places for one source's requests, each of which needs one while it is read or waits for Redis.

    `sources`: how many sources share `AT_ONCE`. `is_shared_out`: no address may have more than half of the places.
    """

    sources: int
    is_shared_out: bool
    _count: int = field(init=False)
    _room: trio.Semaphore = field(init=False)
    _shares: WeakValueDictionary[str, trio.Semaphore] = field(factory=WeakValueDictionary)
    """The share of each address: it is there while a request from there has a place or waits for one."""

    def __attrs_post_init__(self) -> None:
        self._count = max(_LEAST, AT_ONCE // self.sources)
        self._room = trio.Semaphore(self._count)

    async def enter(self, address: str) -> trio.Semaphore:
        """Take a place for a request from this address; raise `QuotaFull` if none is free in 10 s.

        Return the share of the address, with which `leave` gives the place back. As a context manager this would cost
        a tenth of what an event does (measured).
        """
        share = self._shares.get(address)
        if share is None:
            share = self._shares[address] = trio.Semaphore(self._count // 2 if self.is_shared_out else self._count)
        until_s = trio.current_time() + _WAIT_S
        await _take(share, until_s)
        try:
            await _take(self._room, until_s)
        except BaseException:
            share.release()
            raise
        return share

    def leave(self, share: trio.Semaphore) -> None:
        """Give back a place, which the next request in line gets."""
        self._room.release()
        share.release()


async def _take(places: trio.Semaphore, until_s: float) -> None:
    # Mostly there is one, and then nothing need bound the wait for it: that costs as much as a part of the work.
    if places.value:
        places.acquire_nowait()
        return
    with trio.move_on_at(until_s) as waiting:
        await places.acquire()
    if waiting.cancelled_caught:
        raise QuotaFull


@define(eq=False)
class _Refusal(Exception):
    """Why a request is refused. `outcome`: for the counts; None: no source is concerned."""

    status: HTTPStatus
    outcome: str | None
    detail: str
    headers: Mapping[str, str] = field(factory=dict)


@define(eq=False)
class _WebhookSource:
    """A source with what is needed to serve it."""

    source: EventSource
    hook: Hook
    login: SourceLogin | None
    """The check of its secret; None: its requests are signed."""
    quota: Quota
    share: Share
    keys: Sequence[CurrentSecret] = ()
    """The secrets with which its requests are signed."""
    takes_below: bool = False
    """Whether what is posted below its path is its, too."""
    signed_hook: SignedHook | None = None
    """The hook, if its requests are signed."""

    @classmethod
    def make(cls, source: EventSource, sources: int, report: Report, share: Share) -> "_WebhookSource":
        """Return this source, one out of `sources`, ready to be served; its requests lie in this share."""
        hook, defaults = registry.open_hook(source), source_defaults_of(registry.kinds()[source.kind])
        if defaults.is_signed:
            # The signature is of the body: anybody may begin to send one.
            keys = [CurrentSecret(secret, report) for secret in source.secrets]
            signed = hook if isinstance(hook, SignedHook) else None
            return cls(source, hook, None, Quota(sources, is_shared_out=True), share, keys, signed_hook=signed)
        quota = Quota(sources, is_shared_out=source.secret is None)
        login = SourceLogin(None if source.secret is None else CurrentSecret(source.secret, report))
        return cls(source, hook, login, quota, share, takes_below=defaults.takes_below)

    async def secrets(self) -> tuple[bytes, ...]:
        """Return the current values of its keys."""
        return tuple([await key.current() for key in self.keys])


class Webhooks:
    """The sources of one address. `now_s`: epoch seconds, for the time of each event.

    `record_refusal` gets the name of the source of each request that is refused as unauthorized.
    """

    def __init__(
        self,
        sources: Sequence[EventSource],
        deliver: Deliver,
        record_refusal: Callable[[str], None],
        report: Report,
        room: Room,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._places = {
            source.path: _WebhookSource.make(source, len(sources), report, room.share(f"source {source.name}"))
            for source in sources
            if source.path is not None
        }
        self._deliver = deliver
        self._note_refusal = record_refusal
        self._report = report
        self._now_s = now_s

    @property
    def app(self) -> PlainApp:
        """The app for `serving.runner`."""
        return PlainApp("events", self._answer, self._report)

    async def _answer(self, request: HttpRequest) -> plain.HttpAnswer:
        path = request.target.partition(b"?")[0]
        place, rest = self._find_source(_text(path))
        if place is None:
            self._warn_of_path()
            return _encode(_problem(_Refusal(HTTPStatus.NOT_FOUND, None, "No source of events has this path.")))
        return _encode(await self._answer_of(place, rest, request))

    async def _answer_of(self, place: _WebhookSource, rest: str, request: HttpRequest) -> PostAnswer:
        try:
            return await self._handle(place, rest, request)
        except Forbidden as error:
            self._count_refusal(place, _Refusal(HTTPStatus(error.answer.status), "unauthorized", error.why))
            return error.answer
        except _Refusal as error:
            refusal = error
        # Whatever it is: a stranger must not end a broker.
        except Exception as error:  # noqa: BLE001
            what = f"events: {place.source.path} failed with {type(error).__name__}."
            self._report(OperatorWarning("RequestFailed", what, "Please report this."))
            refusal = _Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "failed", "This request failed.")
        self._count_refusal(place, refusal)
        answer = place.hook.answers.problem(refusal.status, refusal.detail)
        return _problem(refusal) if answer is None else answer

    def _find_source(self, path: str) -> tuple[_WebhookSource | None, str]:
        """Return the source with this path, or None, and what follows the source's path, which may be its secret."""
        if path in self._places:
            return self._places[path], ""
        longer = {own: place for own, place in self._places.items() if path.startswith(f"{own}/")}
        above = [own for own, place in longer.items() if place.takes_below or place.source.secret]
        found = max(above, key=len, default=None)
        return (None, "") if found is None else (self._places[found], path[len(found) + 1 :])

    async def _handle(self, place: _WebhookSource, rest: str, request: HttpRequest) -> PostAnswer:
        began_s = trio.current_time()
        method, headers = request.method, dict(request.headers)
        raw_path, _, query = request.target.partition(b"?")
        methods = _SIGNED_METHODS if place.login is None else METHODS
        allow = {"Allow": ", ".join(methods)}
        if method not in methods:
            raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, None, "Use POST.", allow)
        # Before the login: under another spelling of its address a source refuses itself as a stranger.
        if not place.source.takes_chains and came_from_us(request.headers):
            raise _Refusal(HTTPStatus.LOOP_DETECTED, "loop", REFUSAL)
        in_path = beginnings(rest) if place.takes_below else [rest] if rest else []
        if place.login is not None and not await place.login.accepts(headers, query, in_path):
            scheme = {"WWW-Authenticate": 'Basic realm="restbroker events"'}
            why = _NOT_THIS_HOST if place.source.secret is None else _UNPROVEN
            raise _Refusal(HTTPStatus.UNAUTHORIZED, "unauthorized", why, scheme)
        below = "" if place.login is None else place.login.without_secret(rest)
        if method != "POST":
            probe = place.hook.answers.probe
            return attrs.evolve(probe, headers={**allow, **probe.headers})
        if place.signed_hook is not None:
            place.signed_hook.check_head(headers, self._now_s())
        _require_headers(headers, place.hook)
        holding = Holding(place.share)
        try:
            share = await place.quota.enter(request.client)
            try:
                body, secrets = await _body(request, holding), await place.secrets()
                path = _text(raw_path)
                posted = HookRequest(method, path, raw_path, query, headers, body, secrets=secrets, below=below)
                return await self._take(place, posted, began_s)
            finally:
                place.quota.leave(share)
        except QuotaFull:
            raise _not_now("busy", "Too many events arrive at once.") from None
        finally:
            holding.free()

    async def _take(self, place: _WebhookSource, posted: HookRequest, began_s: float) -> PostAnswer:
        try:
            incoming = place.hook.read(posted, place.source.name, self._now_s())
        except MalformedEvent as error:
            raise _Refusal(error.status, "malformed", f"This is not an event: {error}.") from None
        if incoming.asks and place.source.iq == "refuse":
            return self._count(place, "refused", place.hook.answers.refused(incoming))
        try:
            delivery = await self._deliver(incoming.source or place.source, incoming.event)
        except (StoreUnavailable, StoreRefused) as error:
            self._count_refusal(place, _not_now("unavailable", error.message))
            return place.hook.answers.not_now(incoming, RETRY_AFTER_S)
        except UnfitEvent as error:
            raise _Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "malformed", error.message) from None
        except UsageError as error:
            raise _too_large(error.message) from None
        except ValueError:
            raise _Refusal(
                HTTPStatus.BAD_REQUEST, "malformed", "This is not an event: it is nested too deeply."
            ) from None
        verdict = delivery.verdict
        if incoming.asks and verdict == "ignored":
            return self._count(place, "refused", place.hook.answers.refused(incoming))
        # Arguments refuse what lacks something that they need.
        if incoming.unmapped and verdict != "ignored" and not place.source.has_arguments:
            self._warn("EventUnmapped", source=place.source.name, missing=", ".join(incoming.unmapped))
        answer, job = place.hook.answers.accepted(), {} if delivery.jid is None else {_JOB: delivery.jid}
        answer = PostAnswer(answer.status, answer.body, answer.content_type, {**answer.headers, **job})
        return self._count(place, verdict, answer, trio.current_time() - began_s)

    def _count(
        self, place: _WebhookSource, outcome: str, answer: PostAnswer, took_s: float | None = None
    ) -> PostAnswer:
        self._report(EventHandled(place.source.name, outcome, took_s))
        return answer

    def _count_refusal(self, place: _WebhookSource, refusal: _Refusal) -> None:
        """Count the refusal, and warn of it; the log folds what repeats."""
        if refusal.outcome is None:
            return
        name = place.source.name
        self._report(EventHandled(name, refusal.outcome))
        signed = "" if place.login is not None else "-signed"
        match refusal.outcome:
            case "unauthorized":
                self._note_refusal(name)
                own = "-host" if place.source.secret is None else ""
                text = f"EventUnauthorized{signed or own}"
            case "malformed" if refusal.status is HTTPStatus.UNSUPPORTED_MEDIA_TYPE and not place.takes_below:
                text = "EventMalformed-type"
            case "malformed" if refusal.status is HTTPStatus.UNPROCESSABLE_ENTITY:
                text = "EventMalformed-unfit"
            case "malformed":
                text = "EventMalformed-any" if place.takes_below else f"EventMalformed{signed}"
            case "loop":
                text = "EventLoop"
            case "too_large":
                text = "EventTooLarge"
            case "busy" | "unavailable":
                text = "EventNotTaken"
            case _:
                return
        given = {"status": refusal.status.value, "why": refusal.detail, "type": place.hook.CONTENT_TYPE}
        self._warn(text, source=name, **given)

    def _warn(self, text: str, **given: object) -> None:
        problem = _TEXTS.problem(text, **given)
        self._report(OperatorWarning(problem.code, problem.message, problem.hint))

    def _warn_of_path(self) -> None:
        what = "A request came to a path that belongs to no event source."
        hint = f"Let the server post to one of these: {', '.join(sorted(self._places))}."
        self._report(OperatorWarning("EventPathUnknown", what, hint))


def _require_headers(headers: Mapping[bytes, bytes], hook: Hook) -> None:
    """Raise `_Refusal` if the headers show that the body need not be read."""
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length[:20]) > BODY_LIMIT_BYTES:
        raise _too_large()
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        wanted = "The body must not be compressed."
        raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "malformed", wanted, {"Accept-Encoding": "identity"})
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    if hook.CONTENT_TYPE not in (kind, ANY_TYPE):
        wanted = f"The content type must be {hook.CONTENT_TYPE}."
        raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "malformed", wanted, {"Accept": hook.CONTENT_TYPE})


def _text(path: bytes) -> str:
    """Return the path without its escapes, lossless: of bytes that are no UTF-8 each is half a character."""
    return unquote(path.decode("ascii"), errors="surrogateescape")


async def _body(request: HttpRequest, holding: Holding) -> bytes:
    """Return the whole body, and hold the room that it takes, also to parse it.

    Raise `_Refusal` if there is none, if it is too long, or if it does not come in 10 s.
    """
    if request.body is not None and len(request.body) <= FREE_BYTES:
        # Nothing to wait for, to bound or to hold, which would cost a twentieth of what an event does.
        return request.body
    parts: list[bytes] = []
    size = 0
    with trio.move_on_after(_BODY_S):
        while part := await request.read_part():
            parts.append(part)
            size += len(part)
            if size > BODY_LIMIT_BYTES:
                raise _too_large()
            if not holding.take_steps(size):
                raise _not_now("busy", _NO_ROOM)
        if part is None:
            raise _Refusal(HTTPStatus.BAD_REQUEST, "malformed", "The body was cut off, or its chunks are invalid.")
        body = b"".join(parts)
        if size > FREE_BYTES and not holding.take_to_parse(needed := parsed_bytes(body)):
            raise _not_now("busy", _NO_ROOM) if holding.could_hold(needed) else _too_large(_TOO_MANY_PARTS)
        return body
    raise _Refusal(HTTPStatus.REQUEST_TIMEOUT, "malformed", "The body did not arrive in time.")


def _too_large(what: str = f"It has more than {BODY_LIMIT_BYTES} bytes.") -> _Refusal:
    return _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", what)


def _not_now(outcome: str, detail: str) -> _Refusal:
    return _Refusal(HTTPStatus.SERVICE_UNAVAILABLE, outcome, detail, {"Retry-After": str(RETRY_AFTER_S)})


def _problem(refusal: _Refusal) -> PostAnswer:
    """Return the refusal as a problem of RFC 9457."""
    status = refusal.status
    body = {"title": status.phrase, "status": status.value, "detail": refusal.detail}
    return PostAnswer(status.value, json.dumps(body).encode() + b"\n", _PROBLEM, refusal.headers)


def _encode(answer: PostAnswer) -> plain.HttpAnswer:
    headers = tuple((name.lower().encode(), value.encode()) for name, value in answer.headers.items())
    return plain.HttpAnswer(answer.status, answer.body, headers, content_type=answer.content_type.encode())
