"""Why a job waits, in words."""

from typing import Any

import pytest

from restbroker.operate import enqueue
from restbroker.operate.enqueue import PauseNotice, why_waiting


def test_what_ends_a_pause_is_told_as_it_is_to_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    notice = PauseNotice("target", "rosters", "The target rosters is paused.")
    monkeypatch.setattr(enqueue, "pause_of", lambda *_: notice)
    nothing_asked: Any = None
    told = why_waiting(nothing_asked, "q", "rosters")
    assert told == "The target rosters is paused. Resume it: `restbroker targets resume rosters`."
