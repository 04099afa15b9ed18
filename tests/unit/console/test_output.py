"""What reaches stdout and stderr: data, messages, tables on a narrow terminal, hints, and the user's name."""

import getpass
import io
import json
import os
import re
import socket
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from restbroker.cli.audit import _COLUMNS as AUDIT
from restbroker.cli.live import _BARS, _trend_lines
from restbroker.console import causes, columns, output
from restbroker.console.columns import Column, table
from restbroker.console.times import listed, local
from restbroker.console.who import who
from restbroker.errors import OutputLost, UsageError
from restbroker.operate.audit import AuditEntry, StoredEntry
from restbroker.operate.summary import Cause

JID = "5c1f0e9a7b3d4826a1c0ffee"
WORDS = "the server refused it, since something was wrong with it"
COLUMNS: list[Column[list[str]]] = [
    Column(title, lambda row, place=place: row[place])  # type: ignore[misc]  # bound now
    for place, title in enumerate(("WHEN", "JOB", "COMMAND", "CODE", "MESSAGE"))
]
ROW = ["2026-11-28 05:36:14", JID, "send_message", "TargetUnreachable", WORDS]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_pipe_gets_data_untouched_and_tables_as_tabs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.data("a\x1b[31mb")
    columns.rows(("NAME", "SIZE"), [("x\ty", 1), ("a\nb\x1b", 2)])
    assert capsys.readouterr().out == "a\x1b[31mb\nx y\t1\na b\\x1b\t2\n"


@pytest.mark.promise("Security: who can push to the queues", "to forge a line of the log, or to trick a terminal")
def test_on_a_terminal_control_characters_are_shown_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    output.data("a\x1b[31mb\nc", "d\te")
    columns.rows(("NAME",), [("x\x1b[2J",)])
    shown = terminal.getvalue()
    assert "\x1b[2J" not in shown
    assert "a\\x1b[31mb c\nd e\n" in shown
    assert "NAME" in shown


@pytest.mark.promise("Security: who can push to the queues", "to forge a line of the log, or to trick a terminal")
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


def test_text_that_the_locale_cannot_show_becomes_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    output.data("ä \ud800")
    sys.stdout.flush()
    assert raw.getvalue() == b"\\xe4 \\ud800\n"


@pytest.mark.parametrize("size", [1, 4_000, 4_200, 8_100, 8_300, 100_000])
def test_data_lost_before_a_message_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    """Python keeps up to 8 KB of it, and drops them at the first flush that fails; the second one is silent."""

    def show() -> None:
        with output.require_written():
            output.data("x" * size)
            output.say("a note")

    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OutputLost, match="No space left"):
            show()
    assert capsys.readouterr().err == ("a note\n" if size < 8_192 else "")


def test_a_message_shows_control_characters_as_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("a\x1b[31mb\u202e\nc", "d")
    output.say_error(UsageError("no \x1b]0;title\x07", "try \x9b2J"))
    assert capsys.readouterr().err == "a\\x1b[31mb\\u202e c\nd\nrestbroker: no \\x1b]0;title\\x07\ntry \\x9b2J\n"


def test_data_precedes_a_later_message_in_one_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, write_through=True))
    output.data("data")
    output.say("message")
    output.data("more")
    output.say("end")
    assert raw.getvalue() == b"data\nmessage\nmore\nend\n"


def test_counts_of_jobs_have_commas() -> None:
    assert [output.jobs(count) for count in (0, 1, 999, 166_166)] == ["0 jobs", "1 job", "999 jobs", "166,166 jobs"]


@pytest.mark.parametrize("whole", [False, True])
def test_ids_and_times_are_whole_where_texts_are_not(
    whole: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table(COLUMNS, [ROW], whole=whole)
    lines = capsys.readouterr().out.splitlines()
    # How the rest is shared differs by the version of Rich.
    assert re.match(rf"{ROW[0]} +{JID} +send_", lines[1])
    assert max(map(len, lines)) == 80


def test_a_row_without_room_is_longer_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table(COLUMNS, [ROW], whole=False)
    assert re.match(rf"{ROW[0]} +{JID} +send_", capsys.readouterr().out.splitlines()[1])


ENDED = ["05:36:14", "connected_users_number", "one", "AlreadyExists", "409", JID]
ENDS: list[Column[list[str]]] = [
    Column(title, lambda row, place=place: row[place], spare=title == "STATUS")  # type: ignore[misc]  # bound now
    for place, title in enumerate(("WHEN", "COMMAND", "TARGET", "CODE", "STATUS", "JOB"))
]


@pytest.mark.parametrize(
    ("found", "width", "expected"),
    [
        ([ENDED], 80, [f"{ENDED[0]} connected_users_ one AlreadyExists {JID}", "number"]),
        ([ENDED], 68, [f"{ENDED[0]} connected_ one Already {JID}", "users_number Exists"]),
        ([[*ENDED[:2], "", *ENDED[3:]]], 74, [f"{ENDED[0]} {ENDED[1]} AlreadyExists {JID}"]),
        ([ENDED] * 2, 80, [f"{ENDED[0]} {ENDED[1]} one {JID}"] * 2 + ["Each row: CODE AlreadyExists, STATUS 409"]),
    ],
)
def test_no_word_is_broken_and_repetitions_are_said_once(
    found: list[list[str]],
    width: int,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    table(ENDS, found)
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[1:]] == expected


def test_lists_leave_out_the_date_of_today() -> None:
    assert re.fullmatch(r"\d\d:\d\d:\d\d", listed(time.time()))
    assert listed(1.0) == local(1.0)
    assert listed(1e30) == local(1e30)


@pytest.mark.parametrize(("encoding", "bars"), [("utf-8", "▁▂█"), ("latin-1", "_.#")])
def test_bars_are_letters_that_the_terminal_has(encoding: str, bars: str) -> None:
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding=encoding), width=80)
    lines = [line.plain for line in _trend_lines([(0, 0.0), (1, 0.0), (7, 0.5)], console)]
    assert lines == [f"waiting 7        {bars}", f"failed 0.5/s     {bars[0] * 2}{_BARS[encoding != 'utf-8'][4]}"]


@pytest.mark.parametrize(("no_color", "style"), [("", "1;31"), ("1", "1")])
def test_what_is_grave_is_red_where_colours_are(no_color: str, style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_color)
    columns.line("!! down", columns.ALARM[True])
    assert terminal.getvalue() == f"\x1b[{style}m!! down\x1b[0m\n"


def test_subject_of_a_row_is_never_cut(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    columns.rows(("COMMAND", "ABOUT"), [("abort_delete_old_mam_messages", WORDS)])
    lines = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()
    assert lines[1].startswith("abort_delete_old_mam_messages  the server refused it")
    assert max(map(len, lines)) == 60


def test_the_audit_log_names_a_job_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    note = AuditEntry(who="root@vm", action="retry", place="dead", where=JID, why=WORDS, state="ended", done=1)
    table(AUDIT, [StoredEntry("1-1", 1.0, note)])
    lines = capsys.readouterr().out.splitlines()
    assert JID in lines[1]
    assert max(map(len, lines)) == 80


@pytest.mark.parametrize(
    ("message", "has_hint"),
    [
        ("The server has no host x. Correct the host, or add it.", False),
        ("Correct the host.", False),
        ("The server has no host x.", True),
        ("It is Incorrect there.", True),
        (None, True),
    ],
)
def test_advice_in_the_message_is_not_repeated(message: str | None, has_hint: bool) -> None:
    cause = Cause("g", "k", None, "one", "register", "UnknownHost", message)
    text = causes.hint(cause)
    assert (text is not None) == has_hint
    assert text is None or text.startswith("Correct ")


def test_sudo_records_its_caller_and_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ann")
    assert who() == f"ann@{socket.gethostname()}"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(getpass, "getuser", nameless)
    assert who() == f"uid {os.getuid()}@{socket.gethostname()}"
