"""The parts that serve one target. `app` builds them from a configuration; all its generations share them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from restbroker.broker.tokens import Tokens
from restbroker.config.target import Target
from restbroker.job.job import Job
from restbroker.job.json_types import Json
from restbroker.job.order import Order
from restbroker.job.policy import Policy
from restbroker.job.reason import Reason
from restbroker.job.unmet import Unmet, unmet
from restbroker.light import define, field
from restbroker.servers.contract import Connector
from restbroker.store.jobs import Limits
from restbroker.transport.message import Transport


class Closable(Protocol):
    """An object with connections of its own."""

    async def aclose(self) -> None:
        """Close its connections."""
        ...


@define(eq=False)
class TargetPlan:
    """The parts that a worker pool is made of, and what is known of its jobs' keys."""

    target: Target
    connector: Connector
    transport: Transport
    tokens: Tokens
    policy: Policy
    limits: Limits = field(factory=Limits)
    history_s: float | None = None
    """The seconds for which Redis keeps a record of finished jobs; None: it keeps none."""
    history_arguments: tuple[str, ...] = ()
    """The arguments that such a record keeps."""
    services: tuple[Closable, ...] = ()
    """What else the connector uses; closed with the transport."""
    shows_bodies: bool = False
    """Whether the reasons of refusals may hold message texts of jobs."""
    bug: Callable[[str, Exception], Reason] = lambda what, error: Reason("Bug", f"{what}: {type(error).__name__}.")
    """Returns what is reported of the connector's unforeseen error; `what` ("The probe") begins the sentence."""

    is_ours: bool = True
    """Whether the connector is one of restbroker's own kinds."""

    is_xmpp: bool = True
    """Whether the server speaks XMPP."""

    unfit_commands: Callable[[str | None], Mapping[str, Json]] = lambda _version: {}
    """Returns why this version of the server does not take commands of the configuration, by their places."""

    event_commands: frozenset[str] = frozenset()
    """The commands that events become, whose dead jobs are counted by themselves."""

    order: Order | None = field(init=False)
    """How jobs of one key are done one after the other; None: they are not."""
    key_rules: str = field(init=False)
    """What the target says of its order and fairness, as the store takes it; "": nothing."""
    _unread_keys: Mapping[str, str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Read once what the target says."""
        self.order, self.key_rules = self.target.order, self.target.key_rules
        self._unread_keys = self.target.unread_keys

    def unmet(self, payload: Job, reply_id: Json, expires_at_s: float | None) -> Iterable[Unmet]:
        """Return what an admitted job asks for and does not get here."""
        answered, expires = reply_id is None or self.policy.reply_queue is not None, expires_at_s is not None
        if payload.is_plain and answered:
            return ()
        return unmet(payload.fields, self._unread_keys, expires=expires, answered=answered)

    @property
    def time_outs_s(self) -> dict[str, float]:
        """How many seconds a request may take: of each command that may take longer than others, and of those ("")."""
        least_s, commands = self.target.timeout_s, self.connector.catalogue.commands
        own_s = {name: command.timeout_s or 0.0 for name, command in commands.items()}
        return {"": least_s} | {name: longest_s for name, longest_s in own_s.items() if longest_s > least_s}

    @property
    def places(self) -> int:
        """The number of places of the worker, with those for slots: else slow commands could take all."""
        return self.target.concurrency + sum(self.target.slots.values())
