"""Keeps the facts that are the same for all jobs of one endpoint: to look them up took a fifth of each job's time.

Admission calls `of`, and the worker uses the `Endpoint` that it returns. Always holds: an `Endpoint` is made again
when its connector has another command under that name, as when it learns the server's version; memory is bounded,
though producers can invent endpoints.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase

import attrs

from restbroker.broker.gates import Slot, Slots
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.job import auth
from restbroker.job.command import Command, CommandSpec
from restbroker.job.outcome import Reason
from restbroker.servers.contract import Connector

_LIMIT = 500


@attrs.define(eq=False)
class Endpoint:
    """The facts about one endpoint of a target.

    `spec`: its command in the catalogue, None if it is in none. `slot`: None if no slot limits its deliveries.
    `timeout_s`: how many seconds a request may take.
    """

    endpoint: str
    spec: CommandSpec | None
    at_most_once: bool
    slot: Slot | None
    timeout_s: float
    expire_s: float | None
    """How many seconds after its creation a job expires that does not say when; None: it does not."""
    _target: str
    _default_host: str | None
    _dangerous: Mapping[str, frozenset[str]]
    _refusals: dict[str, Reason | None] = attrs.field(factory=dict)

    def refusal(self, token: Token, command: Command, queue: str) -> Reason | None:
        """Return why the token does not allow `command`, whose endpoint this is, from `queue`; None if it does."""
        if token.name not in self._refusals:
            self._refusals[token.name] = auth.command_refusal(token, self.endpoint, self.spec, self._dangerous)
        refused = auth.place_refusal(token, self._target, queue) or self._refusals[token.name]
        return refused or auth.argument_refusal(token, command, self.spec, self._default_host)


@attrs.define(eq=False)
class Endpoints:
    """The endpoints that jobs of one pool named so far."""

    _target: Target
    _connector: Connector
    _slots: Slots
    _known: dict[str, Endpoint] = attrs.field(factory=dict)

    def of(self, endpoint: str) -> Endpoint:
        """Return the facts about this endpoint, for the version of the server that its connector knows now."""
        spec = self._connector.spec(endpoint)
        known = self._known.get(endpoint)
        if known is None or known.spec is not spec:
            if len(self._known) >= _LIMIT:
                self._known.clear()
            known = self._known[endpoint] = self._find_out(endpoint, spec)
        return known

    def _find_out(self, endpoint: str, spec: CommandSpec | None) -> Endpoint:
        # Without what an endpoint says beside the command (ejabberd's `register/v1`).
        catalogue, target = self._connector.catalogue, self._target
        name = catalogue.name_in(endpoint)
        longer_s = spec.timeout_s if spec is not None and spec.timeout_s is not None else 0.0
        return Endpoint(
            endpoint,
            spec,
            at_most_once=any(fnmatchcase(name, glob) for glob in target.at_most_once),
            slot=self._slots.of(name),
            timeout_s=max(longer_s, target.timeout_s),
            expire_s=target.expire_of_s(name),
            target=target.name,
            default_host=target.default_host,
            dangerous=catalogue.dangerous_in(endpoint),
        )
