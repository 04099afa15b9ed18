"""The connector for any HTTP API: one command is one request, as its recipe says.

`app` opens it through the registry. Always holds: a command that the configuration lacks is refused before anything is
sent; no redirect is followed; the probe changes nothing. After an answer that the server is busy, no probe is sent for
a while, a minute at most, so that the target stays paused; after refused logins, one probe serves all jobs that met
them.
"""

from collections.abc import Callable, Mapping
from typing import Final

import trio

from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.job.command import Call
from restbroker.job.outcome import Delivered, Denied, Outcome, Probe, Rejected
from restbroker.light import define, field, frozen_plain
from restbroker.servers.api.connector import PreparedCall, TableConnector
from restbroker.servers.api.health import Health, target_denied, target_down, target_up
from restbroker.servers.api.request import Headers, unsent
from restbroker.servers.contract import Connector, Link, Ports
from restbroker.servers.http.catalogue import HttpSettings, Recipe, settings_of
from restbroker.servers.http.outcomes import BUSY, BUSY_S, LONGEST_BUSY_S, REFUSED, classify
from restbroker.servers.http.request import build, headers_of, question
from restbroker.transport.message import MaybeSent, NotSent, Request, Response, retry_after_s

LET_IN_S: Final = 10.0
"""For so many seconds, a probe that was let in says that a 401 or 403 is about the command, not about the login."""
_DENIED_S: Final = 1.0
"""For so many seconds, a probe that was not let in says so for all jobs."""
_NOT_IMPLEMENTED: Final = 501
_ADD_IT: Final = "Correct the name, or add the command to the target's Options.Commands."


@frozen_plain
class _Signed:
    """The request of a call, and the secrets that it is signed with."""

    request: Request
    signing: list[str]


@define
class _HttpTarget:
    """One target: what its answers say about how busy it is, and its latest probe."""

    _target: Target
    _settings: HttpSettings
    _now_s: Callable[[], float]
    _headers: Mapping[str, Callable[[], Headers]]
    """By command, what returns the headers of its requests."""
    _busy_until_s: float = float("-inf")
    _last_probe: Probe | None = None
    _last_probe_at_s: float = float("-inf")
    _probe_lock: trio.Lock = field(factory=trio.Lock)

    def request(self, call: Call, recipe: Recipe) -> _Signed:
        """Return the request of a call, signed; raise as `build` does."""
        signing = [secret.reveal() for secret in self._settings.signing]
        headers = self._headers[recipe.spec.name]()
        return _Signed(build(call, recipe, self._target, headers, signing, self._now_s()), signing)

    async def send(self, one: PreparedCall[Recipe, _Signed]) -> Outcome:
        """Send the request, and return the outcome of its answer: a 401 or 403 is `Denied` if the probe gets it too."""
        response = await one.link.send(one.request.request)
        outcome = classify(one.call, one.entry, response, now_s=self._now_s(), signing=one.request.signing)
        self._learn(response, outcome)
        if response.status in REFUSED and isinstance(outcome, Rejected) and await self._is_shut_out(one.link):
            return Denied(outcome.reason, outcome.text)
        return outcome

    async def probe(self, link: Link) -> Probe:
        """Send the configured `Probe`, else HEAD of the URL; judge the answer, or raise `NotSent` or `MaybeSent`.

        Nothing is sent before the end of the server's Retry-After, nor within a second of a refused login.
        """
        async with self._probe_lock:
            now_s = trio.current_time()
            if self._busy_until_s > now_s:
                left = f"The server is busy; restbroker waits for {duration_text(self._busy_until_s - now_s)} more."
                return Probe(ok=False, denied=False, version=None, detail=left, hint="It continues by itself.")
            if self._last_probe is not None and self._last_probe.denied and now_s - self._last_probe_at_s < _DENIED_S:
                return self._last_probe
            return await self._ask(link)

    def _learn(self, response: Response, outcome: Outcome) -> None:
        if isinstance(outcome, Delivered):
            self._busy_until_s = float("-inf")
        elif response.status in BUSY:
            asked_s = retry_after_s(response, self._now_s())
            wait_s = BUSY_S if asked_s is None else min(asked_s, LONGEST_BUSY_S)
            self._busy_until_s = max(self._busy_until_s, trio.current_time() + wait_s)

    async def _is_shut_out(self, link: Link) -> bool:
        """Tell whether a configured probe is not let in either: then it is the login, or nothing can tell yet."""
        if self._settings.probe is None:
            return False
        await link.task()
        async with self._probe_lock:
            found = self._last_probe
            counts_s = LET_IN_S if found is not None and found.ok else _DENIED_S
            if found is None or trio.current_time() - self._last_probe_at_s >= counts_s:
                try:
                    found = await self._ask(link)
                except (NotSent, MaybeSent):
                    # The command itself was answered, so this must not be taken for its own; the broker asks again.
                    return True
            return not found.ok

    async def _ask(self, link: Link) -> Probe:
        request = unsent(lambda: question(self._target, self._settings))
        found = health_of(await link.ask(request), is_asked=self._settings.probe is not None).probe
        self._last_probe, self._last_probe_at_s = found, trio.current_time()
        return found


def health_of(response: Response, *, is_asked: bool) -> Health:
    """Return the health that the answer to a probe shows.

    `is_asked`: the probe is configured, so that only a success is one; else any status below 500 is.
    """
    status = response.status
    if 200 <= status < 300 or (not is_asked and (status < 500 or status == _NOT_IMPLEMENTED)):
        return target_up(f"It answers (status {status}).")
    if status in REFUSED:
        return target_denied(
            "LoginRefused", f"The login is refused (status {status}).", "Correct the target's login (Auth, Headers)."
        )
    hint = "Check its log. If this status is normal, correct Probe in the target's Options."
    return target_down(f"The server does not work now (status {status}).", hint)


def open_connector(target: Target, ports: Ports) -> Connector:
    """Return the connector of this target; nothing is sent yet."""
    settings = settings_of(target)
    headers = {name: headers_of(recipe, target, settings) for name, recipe in settings.recipes.items()}
    it = _HttpTarget(target, settings, ports.now_s, headers)
    return TableConnector(
        target,
        settings.catalogue,
        settings.recipes,
        it.request,
        send=it.send,
        probe=it.probe,
        unknown=_ADD_IT,
        stepwise=True,
    )
