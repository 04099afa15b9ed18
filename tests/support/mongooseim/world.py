"""What the stand-in remembers: domains, accounts, rosters, messages.

Operations read and change it under `lock`.
"""

import threading
from collections.abc import Callable

import attrs

from tests.support.mongooseim.scalars import Jid


@attrs.frozen
class Refusal(Exception):
    """The server does not do it. `more` goes into `extensions` beside the code."""

    code: str
    message: str
    more: dict[str, object] = attrs.field(factory=dict)


@attrs.define
class Domain:
    """A domain that the server serves."""

    host_type: str = "localhost"
    enabled: bool = True
    password: str | None = None


@attrs.frozen
class Contact:
    """One line of a roster."""

    jid: str
    name: str = ""
    groups: tuple[str, ...] = ()


@attrs.frozen
class Sent:
    """A stanza that was routed. `kind` is its type; a `groupchat` goes to a room."""

    sender: Jid
    receiver: Jid
    body: str
    kind: str = "chat"


@attrs.define(eq=False)
class World:
    """`told` is called with each message that was routed, in the way of whoever sent it, as event pushers are."""

    domains: dict[str, Domain] = attrs.field(factory=lambda: {"localhost": Domain()})
    accounts: dict[str, str] = attrs.field(factory=dict)
    rosters: dict[str, dict[str, Contact]] = attrs.field(factory=dict)
    messages: list[Sent] = attrs.field(factory=list)
    told: list[Callable[[Sent], object]] = attrs.field(factory=list)
    lock: threading.RLock = attrs.field(factory=threading.RLock)

    def register(self, *jids: str, password: str = "secret") -> None:
        """Makes accounts, as if they had been there all the time."""
        self.accounts.update(dict.fromkeys(jids, password))

    def is_served(self, domain: str) -> bool:
        return domain in self.domains and self.domains[domain].enabled

    def is_account(self, jid: Jid) -> bool:
        return jid.bare in self.accounts

    def route(self, sent: Sent) -> None:
        self.messages.append(sent)
        for tell in self.told:
            tell(sent)
