"""Executes settlements. Used through `store.jobs`, by all that settles: `committer.commit`, which the fetcher,
`suspects` and `leftovers` call too. Other files of the store take only `as_score`.

Always holds: a settlement is applied at most once, together with its replies; Redis' own clock is not asked.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeAlias, assert_never

import attrs

from restbroker.rules.settlement import Ack, Back, Dead, Drop, Reply, Retry, Schedule, Settlement
from restbroker.store.client import Client
from restbroker.store.codes import Code, Gone, Refused, as_code
from restbroker.store.keys import Keys, is_reply_key
from restbroker.store.replies import Argument, items
from restbroker.store.tickets import MAX_BATCH, ticket_number, ticket_queue

Item: TypeAlias = tuple[str, Settlement]


@attrs.frozen
class FinishRequest:
    """Tickets and what becomes of their jobs. `queues` as registered; `hwm` as in `FetchRequest`, 0 leaves it."""

    identity: str
    target: str
    queues: tuple[str, ...]
    hwm: int
    items: Sequence[Item]


def finish(client: Client, request: FinishRequest, now_s: float) -> list[Code]:
    """Settles each job for itself, in one step; one code per item, in their order. `now_s` gives the day to count in.

    Jobs that go back are pushed last, newest first, so that the oldest is taken first again. Raises
    `StoreUnavailable`: some may be settled all the same; the same call again answers `Gone` for those.
    """
    codes: list[Code] = [Gone()] * len(request.items)
    order = []
    for place, item in enumerate(request.items):
        why = _refusal(item[1])
        if why is None:
            order.append(place)
        else:
            codes[place] = Refused(why)
    order.sort(key=lambda place: _back_rank(request.items[place]))
    for start in range(0, len(order), MAX_BATCH):
        places = order[start : start + MAX_BATCH]
        replies = _send(client, request, [request.items[place] for place in places], now_s)
        for place, code in zip(places, replies, strict=True):
            codes[place] = code
    return codes


def _back_rank(item: Item) -> tuple[int, int]:
    ticket, settlement = item
    return (1, -ticket_number(ticket)) if isinstance(settlement, Back) else (0, 0)


def _refusal(settlement: Settlement) -> str | None:
    for reply in _replies(settlement):
        if reply.queue is None and not is_reply_key(reply.key or ""):
            return f"{reply.key!r} is not a key for answers (restbroker:reply:NAME)"
    return None


def _send(client: Client, request: FinishRequest, batch: Sequence[Item], now_s: float) -> list[Code]:
    keys = client.keys
    destinations: dict[str, int] = {}
    arguments: list[Argument] = [request.identity, request.hwm, len(request.queues)]
    for ticket, settlement in batch:
        replies = _replies(settlement)
        arguments += [ticket, *_fate(settlement), ticket_queue(ticket), len(replies)]
        for reply in replies:
            index = destinations.setdefault(_destination(keys, reply), len(destinations) + 1)
            arguments += [index, reply.queue or "", reply.ttl_s, reply.payload]
    lists = [*(keys.queue(name) for name in request.queues), *destinations]
    answer = client.run("finish", [*_fixed(keys, request, now_s), *lists], arguments)
    return [as_code(code) for code in items(answer)]


def _fixed(keys: Keys, request: FinishRequest, now_s: float) -> list[str]:
    date = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d")
    counters = [keys.stat("processed"), keys.stat("failed")]
    counters += [keys.stat_day("processed", date), keys.stat_day("failed", date)]
    sets = [keys.sorted_set("retry"), keys.sorted_set("dead"), keys.sorted_set("schedule")]
    own = [keys.sent(request.identity), keys.in_flight(request.target)]
    return [keys.in_progress(request.identity), *counters, *sets, keys.queues, keys.parked, *own]


def _fate(settlement: Settlement) -> tuple[str, str, bytes]:
    match settlement:
        case Ack():
            return "", "0", b""
        case Drop():
            return "zx", "0", b""
        case Retry():
            return "zr", as_score(settlement.at_s), settlement.payload
        case Dead():
            return "zd", as_score(settlement.at_s), settlement.payload
        case Schedule():
            return "zs", as_score(settlement.at_s), settlement.payload
        case Back():
            return "back", "0", b""
        case _:
            assert_never(settlement)


def _replies(settlement: Settlement) -> tuple[Reply, ...]:
    return () if isinstance(settlement, Back | Schedule) else settlement.replies


def _destination(keys: Keys, reply: Reply) -> str:
    return keys.queue(reply.queue) if reply.queue is not None else keys.reply(reply.key or "")


def as_score(at_s: float) -> str:
    """A time as Sidekiq writes it. 16 digits: Sidekiq Web names entries by score, which must survive its printing."""
    return f"{at_s:.6f}"
