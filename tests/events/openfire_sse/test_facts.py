"""What leaves the process of a login's id: too little to act as its user."""

from typing import cast

import pytest

from restbroker.events.contract import StreamFacts
from restbroker.events.openfire_sse.facts import Facts
from restbroker.transport.stream import EventStream


class Stream:
    heartbeat_s = 7.0


@pytest.mark.parametrize(
    ("login", "shown"), [("ofchat-491368877", "…877"), ("ofchat-7", "…-7"), ("ofchat", "…"), ("x", "…"), ("", "")]
)
def test_of_an_id_the_end_is_shown_and_never_most_of_it(login: str, shown: str) -> None:
    facts = Facts()
    assert facts() == StreamFacts()
    facts.opened(cast("EventStream", Stream()), login, 5.0)
    facts.event_s = 6.0
    assert facts() == StreamFacts(shown, 5.0, 6.0, 7.0)
