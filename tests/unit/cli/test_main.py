"""What reaches the entry point ends as a message and an exit code, or as the bug that it is."""

from types import SimpleNamespace

import pytest

from restbroker.__main__ import main
from restbroker.errors import StoreUnavailable, UsageError


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(prog_name: str) -> None:
        raise error

    monkeypatch.setattr("restbroker.cli.app.command_line", lambda: SimpleNamespace(main=run))


def test_a_group_of_errors_ends_as_its_first_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = ExceptionGroup("", [StoreUnavailable("Redis is away."), UsageError("Another.")])
    raising(monkeypatch, ExceptionGroup("", [inner]))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    assert capsys.readouterr().err == "restbroker: Redis is away.\n"


def test_a_group_with_a_bug_in_it_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, ExceptionGroup("", [UsageError("Known."), ValueError("a bug")]))
    with pytest.RaisesGroup(UsageError, ValueError):
        main()
