"""Which modules are suggested for what a source takes."""

import pytest
import yaml

from restbroker.config.events import EventSource
from restbroker.servers.component.check import suggest
from restbroker.servers.component.options import Options


@pytest.mark.parametrize(
    ("takes", "modules"),
    [
        (("message",), {"mod_service_log": {"loggers": ["events.example.org"]}}),
        (("push",), {"mod_push": {"include_sender": True}}),
        (
            ("message", "push"),
            {"mod_service_log": {"loggers": ["events.example.org"]}, "mod_push": {"include_sender": True}},
        ),
    ],
)
def test_ejabberd_gets_the_modules_for_what_is_taken(takes: tuple[str, ...], modules: dict[str, object]) -> None:
    options = Options(name="events.example.org", hosts=("example.org",), takes=takes)  # type: ignore[arg-type]  # any text
    source = EventSource("a", "ejabberd-component", options=options)
    assert yaml.safe_load(suggest(source, [source]))["modules"] == modules


def test_prosody_gets_its_component() -> None:
    options = Options(name="push.example.org", hosts=("example.org",), takes=("push",), software="prosody")
    source = EventSource("a", "prosody-component", options=options)
    assert 'Component "push.example.org"' in suggest(source, [source])
