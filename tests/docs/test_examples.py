"""The dashboard and the alerts ask for metrics that exist, by labels that they have, and tell people what to do."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse

from restbroker.telemetry.series import METRICS
from restbroker.web.metrics import written
from tests.docs.pages import ROOT

DASHBOARD: Final[dict[str, Any]] = json.loads((ROOT / "examples" / "grafana-dashboard.json").read_text("utf-8"))
ALERTS: Final[dict[str, Any]] = yaml.safe_load((ROOT / "examples" / "prometheus-alerts.yml").read_text("utf-8"))
RULES: Final[list[dict[str, Any]]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS: Final[list[dict[str, Any]]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS: Final = [rule["expr"] for rule in RULES] + [
    target["expr"].replace("$__rate_interval", "5m") for panel in PANELS for target in panel["targets"]
]
OF_PROMETHEUS: Final = {"job", "instance", "le"}
NAME: Final = re.compile(r"\b(?:restbroker|process|python)_\w+")
BY: Final = re.compile(r"\bby \(([^)]*)\)")
LABEL: Final = re.compile(r"(\w+)(?:=~|!=|=)\"")


def exported() -> Iterator[str]:
    """Each name that a query may use."""
    for name, metric in METRICS.items():
        yield from ([f"{name}_{part}" for part in ("bucket", "sum", "count")] if metric.kind == "histogram" else [name])
    text = written({})[0].decode()
    yield from (sample.name for family in parse(text) for sample in family.samples)


def labels_of(name: str) -> set[str]:
    metric = METRICS.get(name) or METRICS.get(re.sub("_(bucket|sum|count)$", "", name))
    return OF_PROMETHEUS | (set(metric.labels) if metric is not None else set())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_each_query_can_be_read_and_its_metrics_and_labels_exist(expression: str) -> None:
    promql_parser.parse(expression)
    names = set(NAME.findall(expression))
    assert names
    assert names <= set(exported())
    used = {label.strip() for found in BY.findall(expression) for label in found.split(",")}
    assert used | set(LABEL.findall(expression)) <= set[str]().union(*map(labels_of, names))


def test_what_is_written_is_what_the_list_of_metrics_says() -> None:
    values = {
        name: {tuple("x" for _ in metric.labels): 1.0} for name, metric in METRICS.items() if metric.kind != "histogram"
    }
    told = {sample.name for family in parse(written(values)[0].decode()) for sample in family.samples}
    assert {name for name in exported() if "restbroker" in name} - told == {
        f"{name}_{part}"
        for name, metric in METRICS.items()
        if metric.kind == "histogram"
        for part in ("bucket", "sum", "count")
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_says_what_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description"}
    assert len(rule["annotations"]["description"].split()) > 5
    promised = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert promised <= {label for name in NAME.findall(rule["expr"]) for label in labels_of(name)}


def test_a_long_pause_is_told_whatever_is_paused() -> None:
    (rule,) = [rule for rule in RULES if rule["alert"] == "RestbrokerPausedForLong"]
    assert set(NAME.findall(rule["expr"])) == {name for name in METRICS if name.endswith("_paused")}
    assert {"$labels.queue", "$labels.target"} <= set(re.findall(r"\$labels\.\w+", rule["annotations"]["summary"]))


def test_each_alert_has_a_name_of_its_own() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)


def test_legends_name_labels_that_their_queries_keep() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            kept = {label.strip() for found in BY.findall(target["expr"]) for label in found.split(",")}
            kept |= OF_PROMETHEUS | ({"worker"} if "restbroker_worker_" in target["expr"] else set())
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept, panel["title"]


def test_the_dashboard_can_be_imported_anywhere() -> None:
    text = json.dumps(DASHBOARD)
    assert DASHBOARD["id"] is None
    assert [one["name"] for one in DASHBOARD["__inputs"]] == ["DS_PROMETHEUS"]
    assert set(re.findall(r'"uid": "([^"]+)"', text)) == {"restbroker", "${DS_PROMETHEUS}"}
    assert "://" not in text
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_no_metric_of_the_dashboard_or_the_alerts_is_missing_in_the_page() -> None:
    page = (ROOT / "docs" / "telemetry.md").read_text("utf-8")
    names = {re.sub("_(bucket|sum|count)$", "", name) for text in EXPRESSIONS for name in NAME.findall(text)}
    assert {name for name in names if name.startswith("restbroker") and f"`{name}`" not in page} == set()
