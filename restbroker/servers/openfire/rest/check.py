"""What `restbroker check` checks in a target of kind `openfire-rest`. The registry calls `check`.

Always holds: nothing changes on the server.
"""

from typing import Final

from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.servers.api.checks import JOBS_WAIT, bad_login, finding, open_client, unreachable
from restbroker.servers.findings import Finding, Texts, ok
from restbroker.servers.openfire.rest.connector import dialect_in, health_of, is_starting, version_of
from restbroker.servers.openfire.rest.request import DESCRIPTION, READY, STATISTICS, YAML, question
from restbroker.transport.errors import MaybeSent, NotSent

_TEXTS: Final = Texts.beside(__file__)


async def check(target: Target) -> list[Finding]:
    """Ask the target's server and return the findings; a failure that a person can act on is a finding, too.

    Safe to cancel.
    """
    try:
        async with open_client(target) as http:
            sessions = await http.send(question(target, STATISTICS))
            found = [finding(target, health_of(sessions))]
            if found[0].level != "ok":
                return found
            ready = await http.send(question(target, READY))
            described = await http.send(question(target, DESCRIPTION, accept=YAML))
    except (NotSent, MaybeSent) as error:
        return [no_answer(target, error)]
    except ConfigError as error:
        return [bad_login(target, error)]
    if is_starting(ready):
        found.append(_TEXTS.finding(target.name, "Unwell", why=JOBS_WAIT))
    version = version_of(dialect_in(sessions), ready, described)
    about = "A REST API plugin of unknown version" if version is None else f"REST API plugin {version}"
    return [*found, ok(target.name, "Version", f"{about}.")]


def no_answer(target: Target, error: NotSent | MaybeSent) -> Finding:
    """Return the finding that the target did not answer a request of the check, for the reason in `error`."""
    is_plain = target.url.scheme == "https" and target.url.port == 9090
    plain = "Port 9090 has no TLS by default: https is on 9091. " if is_plain else ""
    hint = "Check that Openfire runs, the address and port of its console, and the target's URL."
    return unreachable(target, error, hint, plain)
