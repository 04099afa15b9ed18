"""How far long work is: on a terminal only, without a guess where the total is unknown, and gone at the end."""

import io
import re
import sys

import pytest

from restbroker.console import output
from restbroker.console import progress as module
from restbroker.console.progress import progress
from restbroker.store.client import StoreSettings, open_client


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def as_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Stderr as a terminal, to which a bar comes at once."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(module, "_QUIET_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    assert isinstance(sys.stderr, Terminal)
    return sys.stderr


def plain(terminal: Terminal) -> str:
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.getvalue())


def test_a_terminal_shows_per_cent_and_words_below_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = as_terminal(monkeypatch)
    with progress() as show:
        for done in range(0, 60, 10):
            show(done, 100, f"{done} retried")
        output.say("note: one waits")
    shown = plain(terminal)
    assert "50%" in shown
    assert "50 retried" in shown
    assert "note: one waits\n" in shown
    # The line is cleared and the cursor is shown again.
    assert terminal.getvalue().endswith("\x1b[2K")
    assert "\x1b[?25h" in terminal.getvalue()


def test_an_unknown_total_has_no_per_cent(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = as_terminal(monkeypatch)
    with progress() as show:
        show(10, None, "10 rows")
        show(20, None, "20 rows")
    assert "20 rows" in plain(terminal)
    assert "%" not in plain(terminal)


def test_a_walk_through_a_set_is_shown_while_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = as_terminal(monkeypatch)
    client = open_client(StoreSettings("redis://127.0.0.1:1/0"))
    with progress(client):
        client.tell(100, 200, "100 looked at")
    client.tell(150, 200, "150 looked at")
    assert "50%" in plain(terminal)
    assert "100 looked at" in plain(terminal)
    assert "150" not in plain(terminal)


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = as_terminal(monkeypatch)
    monkeypatch.setattr(module, "_QUIET_S", 3600.0)
    with progress() as show:
        show(1, 2, "")
    assert terminal.getvalue() == ""


def test_a_pipe_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_QUIET_S", 0.0)
    monkeypatch.setattr(sys, "stderr", pipe := io.StringIO())
    with progress() as show:
        show(1, 2, "")
    assert pipe.getvalue() == ""
