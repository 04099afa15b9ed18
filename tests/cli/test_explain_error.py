"""`restbroker explain-error`: every code that a person can meet is explained, offline."""

import json
import re
from pathlib import Path

from restbroker.console import codes
from tests.support.process import run_here as run


def test_a_code_is_explained_in_each_place_where_it_has_a_meaning(tmp_path: Path) -> None:
    done = run(["explain-error", "notoken"], directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    firsts = [part.splitlines()[0] for part in done.stdout.split("\n\n")]
    assert firsts == [
        "NoToken: a target that is down",
        "NoToken: a warning in the log",
        "NoToken: `check`, of a target",
    ]
    assert done.stdout.count("What to do: ") == 3


def test_an_unknown_code_ends_with_2_and_names_those_that_are_near() -> None:
    done = run(["explain-error", "TargetUnreachabel"])
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean TargetUnreachable" in done.stderr
    assert "lists them all" in run(["explain-error", "xyzzy"]).stderr


def test_without_a_code_all_are_listed_and_json_has_all_there_is() -> None:
    listed = [line.split("\t") for line in run(["explain-error"]).stdout.splitlines()]
    assert len(listed) == len(codes.every())
    assert ["PortTaken", "a warning in the log"] in [row[:2] for row in listed]
    assert json.loads(run(["explain-error", "--json"]).stdout) == [dict(row) for row in codes.every()]
    (one,) = json.loads(run(["explain-error", "Poison", "--json"]).stdout)
    assert one["hint"].startswith("Check the logs")


def test_a_code_of_every_kind_of_server_is_explained_without_the_keys_of_ejabberd() -> None:
    rows: list[str] = ["LoginRefused", "TargetDenied", "ServerError", "Redirected", "WrongUrl", "OddAnswer"]
    for code in rows:
        for row in json.loads(run(["explain-error", code, "--json"]).stdout):
            assert not re.search(r"RestUser|RestPass|api_permissions|ejabberd", row["hint"])
