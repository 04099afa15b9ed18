"""`restbroker run`: what its environment may say, and what its first line tells of it."""

import json
import re
from pathlib import Path

import pytest

from tests.support.process import clean_environment, started


@pytest.mark.parametrize(("fast", "told"), [("0", "off"), ("1", None)])
def test_the_line_of_the_start_says_when_the_fast_path_is_off(
    redis_url: str, tmp_path: Path, fast: str, told: str | None
) -> None:
    document = {"RedisURL": redis_url, "RestURL": "http://127.0.0.1:1/api", "RestQueue": "rest", "Token": "t"}
    (tmp_path / "env.json").write_text(json.dumps(document))
    environ = clean_environment({"RESTBROKER_FAST": fast})
    with started(["run", "--json-logs"], directory=tmp_path, environ=environ) as broker:
        broker.wait_for(r"broker\.started")
        found = re.search(r'"fast_path": ?"(\w+)"', broker.output())
        assert (None if found is None else found[1]) == told
        assert broker.stop() == 0, broker.output()


def test_another_value_of_the_switch_is_refused_by_its_name(tmp_path: Path) -> None:
    document = {"RestURL": "http://127.0.0.1:1/api", "RestQueue": "rest", "Token": "t"}
    (tmp_path / "env.json").write_text(json.dumps(document))
    with started(["run"], directory=tmp_path, environ=clean_environment({"RESTBROKER_FAST": "off"})) as broker:
        assert broker.wait() == 2
        assert "RESTBROKER_FAST: expected 0 or 1, found 'off'." in broker.output()
