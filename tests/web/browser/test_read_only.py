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


@pytest.mark.parametrize(
    "path", ["/", "/targets", "/queues", "/processes", "/in-hand", "/retries", "/scheduled", "/dead", "/audit"]
)
def test_a_read_only_page_says_so_and_offers_nothing(path: str, stage: Stage, visitor: Visitor) -> None:
    stage.lay("dead", "stays", time.time())
    visitor.open(path)
    visitor.sees("read only")
    assert not visitor.has('form[method="post"], a[href*="/steer"], input[type="checkbox"]')


def test_a_job_s_page_offers_nothing_either(stage: Stage, visitor: Visitor) -> None:
    jid = stage.lay("dead", "looked-at", time.time())
    visitor.open("/dead")
    visitor.follow(jid)
    visitor.sees("First failure")
    assert not visitor.has('form[method="post"]')


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/dead/act", [["verb", "delete"], ["all", "yes"]]),
        ("/retries/act", [["verb", "retry"], ["all", "yes"]]),
        ("/steer", [["do", "pause-queue"], ["name", "rest"]]),
    ],
    ids=["delete", "retry", "pause"],
)
def test_what_a_script_asks_for_all_the_same_is_refused(
    path: str, fields: list[list[str]], stage: Stage, visitor: Visitor
) -> None:
    jids = {stage.lay(zset, "stays", time.time() + 9000) for zset in ("dead", "retry")}
    visitor.open("/")
    assert visitor.driver.execute_script(DO_IT_ANYWAY, path, fields) == "ReadOnly"
    assert jids <= stage.jids("dead") & stage.jids("retry")
    assert stage.citizen.client.command("SMEMBERS", "paused") == []
