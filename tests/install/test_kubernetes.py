"""The manifests for Kubernetes: what they name exists, in them and in restbroker."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import httpx
import promql_parser
import pytest

from restbroker.cli.app import COMMANDS
from restbroker.config.core import Config
from restbroker.telemetry.metrics import METRICS
from tests.install.manifests import Value, loaded, objects, one
from tests.support.answering import AnsweringServer
from tests.support.ports import free_port
from tests.support.process import Running, started
from tests.support.promtool import assert_alerts
from tests.support.redis_server import RedisServer
from tests.support.wait import until

MAIN: Final = "restbroker.yaml"
SECRET: Final[dict[str, str]] = objects("secret.yaml")[0]["stringData"]
MOUNTED: Final = "/run/secrets/restbroker"
DEPLOYMENTS: Final = [each for each in objects(MAIN) if each["kind"] == "Deployment"]
NAMES: Final = [each["metadata"]["name"] for each in DEPLOYMENTS]


def container(deployment: Value) -> Value:
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environ(deployment: Value) -> dict[str, str]:
    def said(entry: Value) -> str:
        return str(entry.get("value") or SECRET[entry["valueFrom"]["secretKeyRef"]["key"]])

    return {entry["name"]: said(entry) for entry in container(deployment)["env"]}


def config_of(place: Path, deployment: Value) -> Config:
    text = one(MAIN, "ConfigMap", "restbroker")["data"]["env.json"]
    return loaded(place, text, environ(deployment), MOUNTED, SECRET)


def test_each_container_has_command_configuration_and_few_rights(tmp_path: Path) -> None:
    for deployment in DEPLOYMENTS:
        pod, found = deployment["spec"]["template"]["spec"], container(deployment)
        config = config_of(tmp_path, deployment)
        assert config.targets[0].queues == ("rest",)
        assert set(found["args"]) <= set(COMMANDS)
        assert {mount["name"] for mount in found["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert found["securityContext"]["readOnlyRootFilesystem"] is True
        assert found["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_probes_ask_what_is_served_and_pods_have_time_to_drain(tmp_path: Path) -> None:
    broker = one(MAIN, "Deployment", "restbroker")
    found, config = container(broker), config_of(tmp_path, broker)
    assert config.health_bind is not None
    ports = {"health": config.health_bind[1], "metrics": config.stats_port}
    assert {port["name"]: port["containerPort"] for port in found["ports"]} == ports
    assert config.stats
    assert config.stats_read_only
    # An outage of Redis, which /readyz shows, restarts nothing.
    paths = [found[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")]
    assert paths == ["/healthz", "/healthz", "/readyz"]
    granted_s = broker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert granted_s >= config.shutdown_timeout_s + 10


def test_scaling_uses_existing_metrics_of_those_who_serve_them() -> None:
    scaled = one("scaling.yaml", "ScaledObject", "restbroker")
    (trigger,) = scaled["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    promql_parser.parse(query)
    assert set(re.findall(r"restbroker_\w+", query)) <= set(METRICS)
    assert scaled["spec"]["scaleTargetRef"]["name"] in NAMES


def test_monitors_scrape_the_pages_process_and_each_broker() -> None:
    service = one(MAIN, "Service", "restbroker-web")
    broker = one(MAIN, "Deployment", "restbroker")
    for kind, labels, ports, key in (
        ("ServiceMonitor", service["metadata"]["labels"], service["spec"]["ports"], "endpoints"),
        ("PodMonitor", broker["metadata"]["labels"], container(broker)["ports"], "podMetricsEndpoints"),
    ):
        monitor = one("monitoring.yaml", kind, "restbroker")["spec"]
        (endpoint,) = monitor[key]
        assert monitor["selector"]["matchLabels"] == labels
        assert endpoint["port"] in {port["name"] for port in ports}
        assert endpoint["authorization"]["credentials"]["key"] in SECRET


@pytest.mark.nightly
def test_each_alert_fits_what_the_manifests_have_scraped(tmp_path: Path, redis_server: RedisServer) -> None:
    """Of a broker, of the pages' process, or of both: all is well, then a job dies, then no broker runs."""
    (broker, web), urls, processes = NAMES, dict[str, str](), list[Running]()
    login = {"Authorization": f"Bearer {SECRET['metrics-token']}"}

    def metrics(name: str, host: str = "10.1.2.3:8080") -> str:
        return httpx.get(urls[name], trust_env=False, headers={"Host": host, **login}).text

    with AnsweringServer() as server, ExitStack() as stack:
        here = {"STATSPORT": "0", "STATSBIND": "127.0.0.1", "HEALTHBIND": f"127.0.0.1:{free_port()}"}
        here |= {"REDISURL": redis_server.url, "RESTURL": f"http://127.0.0.1:{server.port}/api"}
        for deployment in DEPLOYMENTS:
            config_of(tmp_path, deployment)
            given = {key: value.replace(MOUNTED, str(tmp_path)) for key, value in environ(deployment).items()}
            given |= {f"RESTBROKER_{key}": value for key, value in here.items()}
            one_of_them = started(container(deployment)["args"], directory=tmp_path, environ=given)
            processes.append(stack.enter_context(one_of_them))
            said = processes[-1].wait_for(r"listening what=/stats addresses=(\S+)")
            urls[deployment["metadata"]["name"]] = f"{said[1]}/metrics"
        until(lambda: "restbroker_target_open{" in metrics(broker) and "_problems{" not in metrics(web), "all is well")
        assert 'restbroker_queue_paused{queue="rest"} 0' in metrics(web, f"{web}:8080")
        assert [httpx.get(url, trust_env=False).status_code for url in urls.values()] == [401, 401]
        hours = [{name: metrics(name) for name in NAMES}]
        redis_server.command("LPUSH queue:rest no_job")
        until(lambda: 'fate="dead"' in metrics(broker) and 'set="dead"} 1' in metrics(web), "a job is dead")
        hours.append({name: metrics(name) for name in NAMES})
        assert processes[0].stop() == 0
        until(lambda: 'code="NotRunning"' in metrics(web), "the pages say that no broker runs")
        hours.append({broker: "", web: metrics(web)})
    for names in (NAMES, [broker], [web]):
        seen = [dict(pair for name in names for pair in values_of(hour[name], name)) for hour in hours]
        series = {
            key: " ".join(f"{hour[key]}+0x59" if key in hour else "stale _x59" for hour in seen)
            for key in set().union(*seen)
        }
        gone = {"RestbrokerGone"} | ({"RestbrokerProblem"} if web in names else set())
        assert_alerts(tmp_path, series, {"59m": set(), "62m": {"RestbrokerJobsDead"}, "119m": set(), "179m": gone})


def values_of(text: str, instance: str) -> Iterator[tuple[str, str]]:
    """Yield each value that this process said, by its name and labels."""
    for key, _, value in (line.rpartition(" ") for line in text.splitlines() if line.startswith("restbroker_")):
        name, _, labels = key.rstrip("}").partition("{")
        yield f'{name}{{{labels},instance="{instance}"}}'.replace("{,", "{"), f"{float(value):f}"
