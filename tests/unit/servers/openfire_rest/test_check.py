"""What `check` finds in a target of kind `openfire-rest`."""

from collections.abc import Callable
from pathlib import Path

from restbroker.config.target import Target, Url
from restbroker.servers import registry
from restbroker.servers.findings import Finding
from restbroker.servers.openfire.access import tls_hint
from tests.support.receiver import Answer, Received, Receiver
from tests.unit.servers.conftest import Made
from tests.unit.servers.openfire_rest.conftest import BASE

DESCRIPTION = b"openapi: 3.0.1\ninfo:\n  title: REST API\n  version: 1.12.0\npaths: {}\n"


def serving(received: Received) -> Answer:
    """A server of the newest plugin, under its usual path."""
    match received.target.removeprefix(BASE):
        case "/system/statistics/sessions":
            return Answer(200, b'{"localSessions":0,"clusterSessions":0}')
        case "/openapi.yaml":
            return Answer(200, DESCRIPTION)
        case "/system/readiness/server":
            return Answer(200, b"")
        case _:
            return Answer(404, b"")


async def found(made: Made, act: Callable[[Received], Answer], path: str = BASE, **members: object) -> list[Finding]:
    with Receiver(act) as server:
        return await registry.check(made(URL=server.url + path, **members))


async def test_healthy_server_reports_its_dialect_and_version(made: Made) -> None:
    findings = await found(made, serving)
    assert [(finding.level, finding.code) for finding in findings] == [("ok", "Reachable"), ("ok", "Version")]
    assert "its JSON is that of 1.3 or newer" in findings[0].message
    assert findings[1].message == "REST API plugin 1.12.0."


async def test_a_server_that_is_not_ready_is_a_problem(made: Made) -> None:
    def act(received: Received) -> Answer:
        return Answer(503, b"") if "readiness" in received.target else serving(received)

    assert [finding.code for finding in await found(made, act)] == ["Unwell"]


async def test_unreachable_server_and_missing_secret_are_reported(made: Made, tmp_path: Path) -> None:
    (away,) = await registry.check(made(URL=f"http://127.0.0.1:1{BASE}"))
    file = tmp_path / "secret"
    file.write_text("s")
    target = made({"SecretFile": str(file)}, Auth=None)
    file.unlink()
    (gone,) = await registry.check(target)
    assert (away.code, gone.code) == ("Unreachable", "BadLogin")


def test_tls_on_the_plain_port_is_reported_with_its_place() -> None:
    for port, hint in ((9090, "Port 9090 has no TLS by default: https is on 9091. "), (9091, "")):
        target = Target("fire", "openfire-rest", Url("https", "of.example.org", port, BASE), ("q",))
        assert tls_hint(target, 9090, 9091) == hint
