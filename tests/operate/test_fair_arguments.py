"""Arguments in `FairBy` that no command has are told before all jobs share one turn."""

import json
from pathlib import Path
from typing import Any

import pytest

from restbroker.console.load_config import load_with_notices
from restbroker.operate.check import check_config
from restbroker.servers.findings import Finding


def findings(tmp_path: Path, **target: Any) -> list[Finding]:
    whole = {"Kind": "ejabberd", "URL": "http://127.0.0.1:1/api", "Queues": ["rest"], **target}
    (tmp_path / "env.json").write_text(json.dumps({"Token": "a-right-long-token", "Targets": {"e": whole}}))
    return [one for one in check_config(load_with_notices(tmp_path / "env.json")) if one.code == "FairByUnknown"]


def test_an_argument_that_no_command_has_is_told_with_the_near_one(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, FairBy=["hots"])
    assert (found.level, found.hint) == ("warning", "Did you mean host?")
    assert found.message == (
        "FairBy of the target e names hots, which no known command of ejabberd has as an argument: it tells no jobs "
        "apart."
    )
    first, second = findings(tmp_path, FairBy=["host", "customer_id", "xyzzy"])
    assert ("customer_id" in first.message, "xyzzy" in second.message) == (True, True)
    assert second.hint == "`restbroker commands NAME` shows a command's arguments."


@pytest.mark.parametrize("fair_by", [["host"], ["user", "host"], "fair_key", None])
def test_of_what_commands_have_nothing_is_told(tmp_path: Path, fair_by: Any) -> None:
    assert findings(tmp_path, **({} if fair_by is None else {"FairBy": fair_by})) == []


def test_where_commands_take_any_argument_nothing_is_told(tmp_path: Path) -> None:
    options = {"Commands": {"add": {"Method": "POST", "Path": "/add"}}}
    assert findings(tmp_path, Kind="http", FairBy=["customer"], Options=options) == []
