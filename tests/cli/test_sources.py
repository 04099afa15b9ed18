"""`restbroker sources` says how each source stands, to people, in a pipe and as JSON."""

import json
from pathlib import Path

import attrs

from restbroker.store import sources
from restbroker.store.client import Client
from restbroker.store.sources import SourceState
from tests.cli.conftest import Shell
from tests.support.terminal import on_a_terminal

ANN = SourceState(
    "chat", "openfire-sse", "web1:7", "ann", 1_795_368_605.0, login="…877", opened_s=1_795_368_600.0, heartbeat_s=2e9
)
SILENT = SourceState(
    "mim", "mongooseim-amqp", "web1:7", "", 1_795_368_605.0, "RabbitMQSilent", "It is silent.", "Wait for it."
)


def test_each_source_and_stream_has_a_line_those_first_that_are_not_read(shell: Shell, store: Client) -> None:
    sources.write(store, [ANN, SILENT])
    lines = [line.split("\t") for line in shell("sources").stdout.splitlines()]
    since = "2026-11-22T17:30:05Z"
    assert lines[0] == ["mim", "-", "web1:7", "RabbitMQSilent", since, "-", "-", "-", "-", "It is silent."]
    assert lines[1][:7] == ["chat", "ann", "web1:7", "read", since, "…877", "2026-11-22T17:30:00Z"]
    assert lines[1][7:] == ["-", "2033-05-18T03:33:20Z", "-"]
    silent, ann = json.loads(shell("sources", "--json").stdout)
    assert (silent["code"], silent["hint"], silent["user"]) == ("RabbitMQSilent", "Wait for it.", None)
    assert (ann["login"], ann["code"], ann["event_s"], ann["heartbeat_s"]) == ("…877", None, None, 2e9)


def test_who_has_no_login_is_not_shown_as_read(place: Path, shell: Shell, store: Client) -> None:
    off = attrs.evolve(ANN, message="no login", login="", opened_s=0.0)
    sources.write(store, [off])
    (line,) = shell("sources").stdout.splitlines()
    assert line.split("\t")[1:7] == ["ann", "web1:7", "no login", "2026-11-22T17:30:05Z", "-", "-"]
    assert line.endswith("\t-")
    assert "state no login since 2026-11-2" in " ".join(on_a_terminal(["sources"], place).split())
    counted = next(row for row in shell("stats").stdout.splitlines() if row.startswith("source"))
    assert counted.split("\t") == ["source", "chat", "ann", "web1:7", "no login", "2026-11-22T17:30:05Z", "-"]


def test_where_there_is_no_source_each_command_says_so_on_stderr(shell: Shell) -> None:
    rows: list[tuple[tuple[str, ...], str]] = [
        (("sources",), "No process on this Redis reads events."),
        (("sources", "--json"), "No process on this Redis reads events."),
        (
            ("events", "tail", "--once"),
            "No events are recorded. No source of events is configured. Add one to Sources of",
        ),
    ]
    for words, said in rows:
        done = shell(*words)
        assert (done.returncode, done.stdout.strip()) == (0, "[]" if "--json" in words else ""), words
        assert said in done.stderr, words
    assert "the section Events (docs/events.md)" in shell("check", "--events").stdout
