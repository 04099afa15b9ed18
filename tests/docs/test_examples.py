"""The dashboard and the alerts ask for metrics that exist, by labels that they have, and can be used anywhere."""

import json
import re
from typing import Any, Final

import promql_parser
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse

from dev.tools.pages import ROOT
from restbroker.job.outcome import Deferred, Delivered, Rejected, Uncertain
from restbroker.telemetry.counters import NO_FAILURES
from restbroker.telemetry.metrics import METRICS, REDIS
from restbroker.web.metrics import exposition

DASHBOARD: Final[dict[str, Any]] = json.loads((ROOT / "examples" / "grafana-dashboard.json").read_text("utf-8"))
ALERTS: Final[dict[str, Any]] = yaml.safe_load((ROOT / "examples" / "prometheus-alerts.yml").read_text("utf-8"))
RULES: Final[list[dict[str, Any]]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
EVERY_PROCESS: Final = {metric.name for metric in REDIS} | {"restbroker_build_info"}
"""What each process serves that is scraped; a night asks `restbroker web`, which serves no more."""
TARGETS: Final = [target for panel in DASHBOARD["panels"] if panel["type"] != "row" for target in panel["targets"]]
OF_PROMETHEUS: Final = {"job", "instance", "le"}
NAME: Final = re.compile(r"\b(?:restbroker|process|python)_\w+")
BY: Final = re.compile(r"\bby \(([^)]*)\)")
LABEL: Final = re.compile(r"(\w+)(?:=~|!=|=)\"")
PART: Final = re.compile("_(bucket|sum|count)$")


def labels_of(expression: str) -> set[str]:
    metrics = (METRICS.get(name) or METRICS.get(PART.sub("", name)) for name in NAME.findall(expression))
    return OF_PROMETHEUS | {label for metric in metrics if metric is not None for label in metric.labels}


def kept_by(expression: str) -> set[str]:
    return {label.strip() for found in BY.findall(expression) for label in found.split(",")}


def test_each_query_can_be_read_and_its_metrics_and_labels_exist() -> None:
    samples = {sample.name for family in parse(exposition({})[0].decode()) for sample in family.samples}
    for name, metric in METRICS.items():
        samples |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if metric.kind == "histogram" else {name}
    wrong = []
    for expression in (rule["expr"].replace("$__rate_interval", "5m") for rule in [*RULES, *TARGETS]):
        promql_parser.parse(expression)
        names, used = set(NAME.findall(expression)), kept_by(expression) | set(LABEL.findall(expression))
        if not names or not names <= samples or not used <= labels_of(expression):
            wrong.append(expression)
    assert not wrong


def test_each_alert_fits_each_documented_scrape() -> None:
    """Of any one process, or of all brokers: none fires for ever, and its group says where it cannot fire."""
    every, brokers = ([rule["expr"] for rule in group["rules"]] for group in ALERTS["groups"])
    for expression in (*every, *brokers):
        asked = [set(NAME.findall(part)) for part in re.split(r"\b(?:or|unless)\b", expression)]
        assert any(names <= EVERY_PROCESS for names in asked) == (expression in every), expression
        assert set(re.findall(r"absent\((\w+)", expression)) <= EVERY_PROCESS


def test_what_counts_as_failure_is_named() -> None:
    tries = {kind.__name__.lower() for kind in (Delivered, Rejected, Deferred, Uncertain)}
    (expression,) = [rule["expr"] for rule in RULES if rule["alert"] == "RestbrokerManyFailures"]
    of_rule = [set(names.split("|")) for names in re.findall(r'outcome=~"([^"]*)"', expression)]
    assert of_rule == [tries - NO_FAILURES, tries]


def test_each_alert_has_its_own_name_meaning_and_advice() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, rule
        assert set(rule["annotations"]) == {"summary", "description"}, rule
        promised = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert promised <= labels_of(rule["expr"]), rule
