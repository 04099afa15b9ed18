"""What reaches stdout and stderr."""

import io
import json
import sys

import pytest

from restbroker.cli import output
from restbroker.cli.app import COMMANDS
from restbroker.cli.exits import Exit, code_of
from restbroker.errors import ConfigError, RestbrokerError, StoreRefused, StoreUnavailable, UsageError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_pipe_data_passes_untouched_and_tables_are_tabs_without_header(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.data("a\x1b[31mb")
    output.table(("NAME", "SIZE"), [("x\ty", 1), ("a\nb\x1b", 2)])
    assert capsys.readouterr().out == "a\x1b[31mb\nx y\t1\na b\\x1b\t2\n"


def test_on_a_terminal_control_characters_are_shown_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    output.data("a\x1b[31mb\nc")
    output.table(("NAME",), [("x\x1b[2J",)])
    shown = terminal.getvalue()
    assert "\x1b[2J" not in shown
    assert "a\\x1b[31mb\nc\n" in shown
    assert "NAME" in shown


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "pipe"])
def test_json_shows_no_control_character_and_means_the_same(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO
) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    value = {"jid": "a\x1b[2J\x7f\x9b31m\u202e\u200b\U000e0001\ud800 bób\n"}
    output.as_json(value)
    shown = stream.getvalue()
    assert json.loads(shown) == value
    assert shown.replace("\n", "").isprintable()
    assert "bób" in shown


def test_no_color_leaves_a_terminals_table_without_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    output.table(("NAME",), [("[bold]x[/bold]",)])
    assert "[bold]x[/bold]" in terminal.getvalue()
    assert "\x1b[3" not in terminal.getvalue()


def test_text_that_the_locale_cannot_show_becomes_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    output.data("ä \ud800")
    sys.stdout.flush()
    assert raw.getvalue() == b"\\xe4 \\ud800\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), Exit.USAGE),
        (UsageError("x"), Exit.USAGE),
        (StoreUnavailable("x"), Exit.STORE),
        (StoreRefused("x"), Exit.FAILED),
    ],
)
def test_each_error_has_its_exit_code(error: RestbrokerError, code: Exit) -> None:
    assert code_of(error) is code


def test_the_exit_codes_are_those_that_scripts_rely_on() -> None:
    assert [(code.name, code.value) for code in Exit] == [
        ("OK", 0),
        ("FAILED", 1),
        ("USAGE", 2),
        ("STORE", 3),
        ("REFUSED", 4),
        ("TARGET", 5),
        ("WAITING", 6),
        ("PARTLY", 7),
        ("OUTPUT", 8),
        ("UNREAD", 141),
    ]


def test_every_command_has_a_help_line_that_fits() -> None:
    assert [name for name, line in COMMANDS.items() if not 10 < len(line) < 70] == []
