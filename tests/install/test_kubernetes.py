"""The manifests for Kubernetes: what they name exists, in them and in restbroker."""

import re
from pathlib import Path
from typing import Any, Final

import httpx
import promql_parser
import pytest

from restbroker.cli.app import COMMANDS
from restbroker.config.core import Config
from restbroker.telemetry.metrics import METRICS
from tests.install.manifests import Value, loaded, objects, one
from tests.support.ports import free_port
from tests.support.process import started
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
    assert found["ports"] == [{"name": "health", "containerPort": config.health_bind[1]}]
    # An outage of Redis, which /readyz shows, restarts nothing.
    paths = [found[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")]
    assert paths == ["/healthz", "/healthz", "/readyz"]
    granted_s = broker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert granted_s >= config.shutdown_timeout_s + 10


def test_scaling_uses_existing_metrics_of_those_who_serve_them() -> None:
    scaled = one("scaling.yaml", "ScaledObject", "restbroker")
    monitor = one("scaling.yaml", "ServiceMonitor", "restbroker")
    service = one(MAIN, "Service", "restbroker-web")
    (trigger,) = scaled["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    promql_parser.parse(query)
    assert set(re.findall(r"restbroker_\w+", query)) <= set(METRICS)
    assert scaled["spec"]["scaleTargetRef"]["name"] in NAMES
    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["authorization"]["credentials"]["key"] in SECRET


@pytest.mark.nightly
def test_pages_give_prometheus_the_metrics_scaling_needs(tmp_path: Path, redis_server: RedisServer) -> None:
    web = one(MAIN, "Deployment", "restbroker-web")
    config_of(tmp_path, web)
    given: dict[str, Any] = {key: value.replace(MOUNTED, str(tmp_path)) for key, value in environ(web).items()}
    port = str(free_port())
    given |= {
        "RESTBROKER_REDISURL": redis_server.url, "RESTBROKER_STATSBIND": "127.0.0.1", "RESTBROKER_STATSPORT": port,
    }  # fmt: skip
    login = {"Authorization": f"Bearer {SECRET['metrics-token']}"}
    urls = {"metrics": f"http://127.0.0.1:{port}/metrics"}

    def metrics(host: str) -> httpx.Response:
        return httpx.get(urls["metrics"], trust_env=False, headers={"Host": host, **login})

    with started(container(web)["args"], directory=tmp_path, environ=given) as pages:
        pages.wait_for(f"127.0.0.1:{port}")
        until(lambda: 'restbroker_queue_latency_seconds{queue="rest"}' in metrics("10.1.2.3:8080").text, "it shows it")
        assert 'restbroker_queue_paused{queue="rest"} 0' in metrics("restbroker-web:8080").text
        assert httpx.get(urls["metrics"], trust_env=False).status_code == 401
