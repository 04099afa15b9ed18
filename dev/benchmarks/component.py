"""`python -m dev.benchmarks.component [TREE]`: µs of CPU that a copy in a component's stream costs, by `Take`.

The streams are what ejabberd was recorded to send (`tests/recorded`), and presences of rooms alone; parser and events
are measured, without Redis. `TREE`: another tree of restbroker, such as the one before a change: both are run in turn,
and the median of the rounds is shown.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
NAME: Final = "events.localhost"
HOST: Final = "localhost"
TEA: Final = f"tea@conference.{HOST}"
DEFAULT: Final = ("message", "groupchat", "presence", "subscription", "error")
TAKES: Final = {
    "default": DEFAULT,
    "with receipts": (*DEFAULT, "receipt", "displayed"),
    "with all": (*DEFAULT, "receipt", "displayed", "created", "joined", "left", "destroyed"),
}
_PIECE: Final = 65_536


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m dev.benchmarks.component", description=__doc__)
    parser.add_argument("tree", nargs="?", type=Path, help="another tree of restbroker")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.one:
        sys.stdout.write(json.dumps(measure()))
        return
    trees = {"this tree": ROOT, **({} if wanted.tree is None else {"the other": wanted.tree.absolute()})}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in trees}
    for _ in range(wanted.rounds):
        for name, tree in trees.items():
            environment = {**os.environ, "PYTHONPATH": str(tree)}
            command = (sys.executable, str(Path(__file__).absolute()), "--one")
            shown = subprocess.run(
                command, env=environment, cwd=tree, check=True, capture_output=True, text=True
            ).stdout
            for what, cost_us in json.loads(shown).items():
                found[name].setdefault(what, []).append(cost_us)
    for name, costs in found.items():
        for what, each in costs.items():
            sys.stdout.write(f"{name:10} {what:32} {median(each):6.2f} µs a copy\n")


def measure() -> dict[str, float]:
    """Return µs of CPU for a copy, the best of five, by stream and `Take`, as far as this tree knows the types."""
    streams = {"recorded": recorded(), "rooms' presences": presences(20_000)}
    found = {}
    for stream, content in streams.items():
        for what, takes in TAKES.items():
            if (teller := teller_of(frozenset(takes))) is not None:
                found[f"{stream}, {what}"] = min(cost_us(content, *teller) for _ in range(5))
    return found


def teller_of(takes: frozenset[str]) -> tuple[Callable[[object], object], Callable[[], Any]] | None:
    """Return what takes an item, and what makes a parser; None if the tree has no such types."""
    from restbroker.servers.component.derive import Deriver  # of the tree that is measured
    from restbroker.servers.component.stanzas import Direct, StanzaCopy, StreamParser

    hosts = frozenset({HOST})
    deriver, life = Deriver("feed", NAME, hosts, frozenset({f"team@conference.{HOST}"}), takes), None
    if not takes.issubset(DEFAULT):
        try:
            from restbroker.servers.component.rooms import RoomLife
        except ImportError:
            return None
        life = RoomLife(deriver) if "joined" in takes else None

    def take(item: object) -> object:
        if isinstance(item, StanzaCopy):
            told = () if life is None else life.events_of_copy(item.stanza, 1.5, 1.0)
            return (deriver.event_of_copy(item.host, item.stanza, 1.5, 1.0), *told)
        if isinstance(item, Direct):
            return (life and life.events_of_room(item, 1.5, 1.0)) or deriver.event_of_room(item, 1.5)
        return None

    return take, lambda: StreamParser(NAME, hosts, 1024 * 1024)


def cost_us(content: bytes, take: Callable[[object], object], parser_of: Callable[[], Any]) -> float:
    """Return µs of CPU for an item of this stream."""
    parser, items = parser_of(), 0
    began_s = time.process_time()
    for at in range(0, len(content), _PIECE):
        for item in parser.feed(content[at : at + _PIECE]):
            take(item)
            items += 1
    return (time.process_time() - began_s) / items * 1e6


def recorded() -> bytes:
    """Return what ejabberd 23.01 sent, its stanzas many times."""
    stream = gzip.decompress((ROOT / "tests/recorded/ejabberd/23.01/component.xml.gz").read_bytes())
    begin = stream.index(b"<message")
    end = stream.rindex(b"</message>") + len(b"</message>")
    return stream[:begin] + stream[begin:end] * max(1, 3_000_000 // (end - begin))


def presences(number: int) -> bytes:
    """Return copies of what a room tells its occupants of each other; one in ten is their own."""

    def each() -> Iterable[str]:
        yield "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' id='1'>"
        for at in range(number):
            own = "<status code='110'/>" if not at % 10 else ""
            yield (
                f"<message to='{NAME}' from='{HOST}'><forwarded xmlns='urn:xmpp:forward:0'>"
                f"<presence xml:lang='en' to='u{at % 50}@{HOST}/x' from='{TEA}/n{at % 7}' xmlns='jabber:client'>"
                f"<x xmlns='http://jabber.org/protocol/muc#user'><item role='participant' affiliation='none'/>{own}</x>"
                "</presence></forwarded></message>"
            )

    return "".join(each()).encode()


if __name__ == "__main__":
    main()
