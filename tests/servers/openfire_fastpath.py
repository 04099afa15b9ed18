# ruff: noqa: SLF001 - one step of many, which others need a server for
"""Fastpath as a state machine: a user asks, experts are offered the question, and a room brings the two together.

The pure half of the tests of Openfire's workgroups: it walks as a server does and says which events are due. The tables
of docs/appendix/openfire-fastpath.md are these. Always holds: no question is with two experts at once, and a room needs
both.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs


@attrs.frozen
class Arrow:
    """Who is `here` gets `there`, by a command or by an event."""

    here: str
    by: str
    there: str


ASKER: Final = (
    Arrow("out", "ask", "queued"),
    Arrow("queued", "offer", "called"),
    Arrow("queued", "ask_revoke", "out"),
    Arrow("called", "ask_join", "talking"),
    Arrow("called", "ask_revoke", "out"),
    Arrow("talking", "ask_send", "talking"),
    Arrow("talking", "ask_revoke", "out"),
)
EXPERT: Final = (
    Arrow("away", "join_workgroup", "ready"),
    Arrow("ready", "notify-queue", "ready"),
    Arrow("ready", "offerReceived", "offered"),
    Arrow("ready", "leave_workgroup", "away"),
    Arrow("offered", "accept_offer", "accepted"),
    Arrow("offered", "reject_offer", "ready"),
    Arrow("offered", "offerRevoked", "ready"),
    Arrow("accepted", "offerRevoked", "ready"),
    Arrow("accepted", "invitationReceived", "invited"),
    Arrow("invited", "join_room", "talking"),
    Arrow("talking", "post_to_room", "talking"),
    Arrow("talking", "leave_room", "ready"),
)


class NoSuchArrow(Exception):
    """Nobody can do that there: the server says 400."""


@attrs.frozen
class Step:
    """One job: who does what."""

    who: str
    command: str


@attrs.frozen
class Due:
    """One event that somebody must be told."""

    who: str
    event: str


@attrs.frozen
class Desk:
    """One workgroup, who asks and who answers: a word of the tables for each. `turn` is whom it asked last."""

    asker: str
    experts: tuple[str, ...]
    states: Mapping[str, str]
    turn: str | None = None
    rejected: frozenset[str] = frozenset()
    """Who does not want the question that is waiting."""

    def after(self, step: Step) -> tuple["Desk", tuple[Due, ...]]:
        """What is so then, and what was told on the way. Raises NoSuchArrow."""
        moved = self._moved(step.who, step.command)
        return moved._told(moved._due(step))

    def _due(self, step: Step) -> Iterator[Due]:
        match step.command:
            case "ask_revoke":
                yield from (Due(who, "offerRevoked") for who in self._offered())
            case "accept_offer":
                yield Due(self.asker, "offer")
                yield Due(step.who, "invitationReceived")

    def _told(self, dues: Iterable[Due]) -> tuple["Desk", tuple[Due, ...]]:
        desk, told = self, []
        for due in dues:
            desk = desk._moved(due.who, due.event)
            told.append(due)
        if (offer := desk._offer()) is not None:
            desk = attrs.evolve(desk._moved(offer.who, offer.event), turn=offer.who)
            told.append(offer)
        return desk, tuple(told)

    def _offered(self) -> list[str]:
        return [who for who in self.experts if self.states[who] == "offered"]

    def _offer(self) -> Due | None:
        """To whom the waiting question goes, if it is with nobody: the next in the round."""
        if self.states[self.asker] != "queued" or self._offered():
            return None
        first = 0 if self.turn is None else self.experts.index(self.turn) + 1
        for who in (*self.experts[first:], *self.experts[:first]):
            if self.states[who] == "ready" and who not in self.rejected:
                return Due(who, "offerReceived")
        return None

    def _moved(self, who: str, by: str) -> "Desk":
        for arrow in self._table(who):
            if (arrow.here, arrow.by) == (self.states[who], by):
                rejected = self.rejected
                if by in ("reject_offer", "offerRevoked"):
                    rejected |= {who}
                elif by == "ask":
                    rejected = frozenset()
                return attrs.evolve(self, states={**self.states, who: arrow.there}, rejected=rejected)
        raise NoSuchArrow(f"{who} is {self.states[who]}: no {by}")

    def _table(self, who: str) -> Sequence[Arrow]:
        return ASKER if who == self.asker else EXPERT


def _walk(steps: str) -> Sequence[Step]:
    return [Step(*step.split()) for step in steps.split(", ")]


WALKS: Final[Mapping[str, Sequence[Step]]] = {
    "the next expert takes what the first rejects": _walk(
        "bob join_workgroup, cid join_workgroup, ann ask, bob reject_offer, cid accept_offer, cid join_room,"
        " ann ask_join, ann ask_send, cid post_to_room, cid leave_room, cid leave_workgroup,"
        " bob leave_workgroup, ann ask_revoke"
    ),
    "who asks takes it back and asks again": _walk(
        "bob join_workgroup, ann ask, ann ask_revoke, ann ask, bob accept_offer, ann ask_join, bob join_room,"
        " bob post_to_room"
    ),
    "an expert comes after the question": _walk(
        "bob join_workgroup, ann ask, bob reject_offer, cid join_workgroup, cid accept_offer, ann ask_revoke"
    ),
}
"""Between them they go along every arrow but two, which only the server's own time decides."""


def opened(asker: str, experts: Sequence[str]) -> Desk:
    """Nobody has come yet."""
    return Desk(asker, tuple(experts), {asker: "out", **dict.fromkeys(experts, "away")})
