"""`restbroker health`: ask the local broker for its health, for supervisors of containers.

Always holds: only the configured HealthBind is requested, or without it the port of the pages, for a few seconds at
most; no proxy is used.
"""

import ipaddress
from http.client import HTTPConnection, HTTPException
from typing import Annotated, Final

import typer

from restbroker.console.exits import Exit
from restbroker.console.load_config import load_quietly
from restbroker.console.options import ConfigOption, option
from restbroker.console.output import data
from restbroker.errors import ConfigError

app = typer.Typer(add_completion=False)

_TIMEOUT_S: Final = 3.0
_MOST_BYTES: Final = 65_536


@app.command()
def health(
    ready: Annotated[
        bool, option("--ready", "Ask whether it takes jobs, not only whether it is alive (/readyz).")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Ask the broker of this machine or container for its health, at HealthBind, and print its answer.

    Without HealthBind it asks the port of the pages (Stats, StatsPort). Exits with 0 if the broker is healthy, with 1
    if it is not or does not answer.
    """
    settings = load_quietly(config, "Stats")
    bind = settings.health_bind
    if bind is None and settings.stats:
        bind = settings.stats_bind, settings.stats_port
    if bind is None or bind[1] == 0:
        raise ConfigError(
            "The broker has no port to ask: the configuration sets neither HealthBind nor Stats (the pages).",
            'Add "HealthBind": "127.0.0.1:8090" to the configuration, and restart the broker.',
        )
    status, said = _request(_reachable_host(bind[0]), bind[1], "/readyz" if ready else "/healthz")
    data(said)
    raise typer.Exit(Exit.OK if status == 200 else Exit.FAILED)


def _request(host: str, port: int, path: str) -> tuple[int, str]:
    """Return the status and the body of the answer; 0 and the reason if there is none."""
    connection = HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST_BYTES).decode("utf-8", "replace").strip()
    except (OSError, HTTPException) as error:
        return 0, f"No answer from {host} port {port}: {error}"
    finally:
        connection.close()


def _reachable_host(host: str) -> str:
    """Return the address at which a server that listens on `host` is reached: loopback if it listens on all."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"
