"""Pages that change nothing: they offer nothing, and obey nobody."""

import time

import pytest

from tests.web.browser.stage import Stage
from tests.web.browser.visitor import Visitor

DO_IT_ANYWAY = """
const [path, fields] = arguments;
return fetch("/login")
  .then((answer) => answer.text())
  .then((html) => new DOMParser().parseFromString(html, "text/html").querySelector("[name=mark]").value)
  .then((mark) => fetch(path, {
    method: "POST", body: new URLSearchParams([...fields, ["mark", mark], ["confirmed", "yes"]]),
  }))
  .then((answer) => answer.json())
  .then((found) => found.error.code);
"""


@pytest.fixture(scope="module")
def keys() -> dict[str, object]:
    return {"StatsReadOnly": True}


FORMS = {
    "/dead/act": [["verb", "delete"], ["all", "yes"]],
    "/retries/act": [["verb", "retry"], ["all", "yes"]],
    "/steer": [["do", "pause-queue"], ["name", "rest"]],
}


def test_what_a_script_asks_for_all_the_same_is_refused(stage: Stage, visitor: Visitor) -> None:
    jids = {stage.lay(zset, "stays", time.time() + 9000) for zset in ("dead", "retry")}
    visitor.open("/")
    visitor.sees("read only")
    answers = {path: visitor.driver.execute_script(DO_IT_ANYWAY, path, fields) for path, fields in FORMS.items()}
    assert answers == dict.fromkeys(FORMS, "ReadOnly")
    assert jids <= stage.jids("dead") & stage.jids("retry")
    assert stage.citizen.client.command("SMEMBERS", "paused") == []
