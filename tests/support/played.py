"""A plugin of pytest that writes which recorded answers tests rest on: `-p tests.support.played --played FILE`.

A test of the night runs the proofs of promises with it, those of one file at a time. It watches the players
from before anything imports them, so it is for processes of its own.

FILE is JSON: by test how many answers it was given that are of real servers, and that are assumed. Of a test that was
given none while it ran, as one that judges answers itself, those count that were read, by whichever of its modules.
"""

import json
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import attrs
import pytest

from tests.support import player
from tests.support.player import UNEXPECTED, Exchange


@attrs.define(eq=False)
class Played:
    """`read`: the answers of each file; `given`: those that went over a connection while the test ran."""

    read: list[Exchange] = attrs.field(factory=list)
    given: list[Exchange] = attrs.field(factory=list)
    found: dict[str, Counter[str]] = attrs.field(factory=dict)

    def watch(self) -> None:
        """Have the players report each answer."""
        recorded, written = player.recorded, player.written

        def reading(*names: str) -> list[Exchange]:
            self.read += (exchanges := recorded(*names))
            return exchanges

        def writing(exchange: Exchange) -> bytes:
            self.given.append(exchange)
            return written(exchange)

        vars(player).update(recorded=reading, written=writing)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.given.clear()
        done = yield
        answers = [exchange for exchange in self.given if exchange.status != UNEXPECTED] or self.read
        kinds = self.found.setdefault(item.nodeid.partition("[")[0], Counter(recorded=0, assumed=0))
        kinds.update("assumed" if answer.assumed else "recorded" for answer in answers)
        return done

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        Path(session.config.getoption("played")).write_text(json.dumps(self.found), "utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--played", required=True, help="the file that is written")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # A conftest may import a player.
    played = Played()
    played.watch()
    early_config.pluginmanager.register(played)
