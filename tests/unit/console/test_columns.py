"""Tables for people on a narrow terminal."""

import re
import sys

import pytest

from restbroker.cli.audit import _COLUMNS as AUDIT
from restbroker.console import output
from restbroker.console.columns import Column, table
from restbroker.operate.audit import AuditEntry, StoredEntry

JID = "5c1f0e9a7b3d4826a1c0ffee"
WORDS = "the server refused it, since something was wrong with it"
COLUMNS: list[Column[list[str]]] = [
    Column(title, lambda row, place=place: row[place])  # type: ignore[misc]  # bound now
    for place, title in enumerate(("WHEN", "JOB", "COMMAND", "CODE", "MESSAGE"))
]
ROW = ["2026-11-28 05:36:14", JID, "send_message", "TargetUnreachable", WORDS]


@pytest.mark.parametrize("whole", [False, True])
def test_ids_and_times_are_whole_where_texts_are_not(
    whole: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table(COLUMNS, [ROW], whole=whole)
    lines = capsys.readouterr().out.splitlines()
    # How the rest is shared differs by the version of Rich.
    assert re.match(rf"{ROW[0]} +{JID} +send_me", lines[1])
    assert max(map(len, lines)) == 80


def test_a_row_without_room_is_longer_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table(COLUMNS, [ROW], whole=False)
    assert re.match(rf"{ROW[0]} +{JID} +send_", capsys.readouterr().out.splitlines()[1])


def test_what_a_row_is_about_is_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    output.table(("COMMAND", "ABOUT"), [("abort_delete_old_mam_messages", WORDS)])
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
