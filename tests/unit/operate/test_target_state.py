"""The one name of a target's state, from what its process says and from pauses."""

import pytest

from restbroker.job.json_types import Json
from restbroker.operate.words import state_text, target_state


@pytest.mark.parametrize(
    ("state", "reasons", "name"),
    [
        ("up", (), "up"),
        (None, (), "-"),
        ("down", (), "down"),
        ("denied", (), "login refused"),
        ("up", ("operator",), "paused"),
        (None, ("operator",), "paused"),
        ("up", ("denied",), "login refused"),
        ("up", ("retry_after",), "asked to wait"),
        ("up", ("retry_after", "operator"), "paused"),
        ("down", ("operator", "retry_after"), "down"),
        ("down", ("denied",), "login refused"),
        ("up", ("of another version",), "paused"),
    ],
)
def test_a_targets_state_has_one_name(state: str | None, reasons: tuple[str, ...], name: str) -> None:
    pauses: list[Json] = [{"reason": reason} for reason in reasons]
    assert state_text(target_state({"state": state, "pauses": pauses}) or "-") == name
