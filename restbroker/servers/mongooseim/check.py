"""What `restbroker check` checks in a target of kind `mongooseim`. The registry calls `check`.

Always holds: nothing changes on the server; it is only asked who the login is, for its version, and for the number of
users in the domain.
"""

from collections.abc import Iterator
from typing import Final

import attrs

from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.servers.api.checks import JOBS_WAIT, bad_login, finding, open_client, unreachable
from restbroker.servers.api.health import Health
from restbroker.servers.findings import Finding, Texts, ok
from restbroker.servers.mongooseim import catalogue, connector
from restbroker.servers.mongooseim.answer import read
from restbroker.servers.mongooseim.options import Options
from restbroker.transport.message import MaybeSent, NotSent, Response

_TEXTS: Final = Texts.beside(__file__)
_LOOPBACK: Final = ("localhost", "::1")


async def check(target: Target) -> list[Finding]:
    """Ask the target's server and return the findings; a failure that a person can act on is a finding, too.

    Safe to cancel.
    """
    try:
        request = connector.health_request(target, target.default_host, target.timeout_s)
        async with open_client(target) as http:
            response = await http.send(request)
    except (NotSent, MaybeSent) as error:
        return [_unreachable(target, error)]
    except ConfigError as error:
        return [bad_login(target, error)]
    found = connector.health_of(target, response)
    if not found.probe.ok:
        return [finding(target, found)]
    who = connector.login_text(target, response)
    return [_target_up(target, found, who), *_version(target, found), *_domain(target, response), *_open_to_all(target)]


def _target_up(target: Target, found: Health, who: str) -> Finding:
    first = finding(target, found)
    return attrs.evolve(first, message=f"{first.message} ({who})") if who else first


def _version(target: Target, found: Health) -> Iterator[Finding]:
    wanted, version = target.options_as(Options).server_version, found.probe.version
    if version is None:
        return
    if wanted != "auto" and catalogue.known_version(wanted) != catalogue.known_version(version):
        yield _TEXTS.finding(target.name, "OtherVersion", wanted=wanted, version=version)
    counted = catalogue.known_version(version if wanted == "auto" else wanted)
    yield ok(target.name, "Version", f"It is MongooseIM {version}; operations as of {counted}.")


def _domain(target: Target, response: Response) -> Iterator[Finding]:
    domain, kind = target.default_host, target.options_as(Options).schema
    if kind == "user":
        return
    if domain is None:
        yield _TEXTS.finding(target.name, "NoDomain", target=target.name)
    elif any(problem.code == "domain_not_found" for problem in read(response.parsable).problems):
        yield _TEXTS.finding(target.name, "UnknownHost", domain=domain)
    else:
        yield ok(target.name, "Domain", f"It serves {domain}.")


def _open_to_all(target: Target) -> Iterator[Finding]:
    url = target.url
    is_local = url.socket is not None or url.host in _LOOPBACK or url.host.startswith("127.")
    if target.credentials is None and not is_local:
        yield _TEXTS.finding(target.name, "OpenAdmin", url=url)


def _unreachable(target: Target, error: NotSent | MaybeSent) -> Finding:
    if isinstance(error, MaybeSent) and error.timed_out:
        return _TEXTS.finding(target.name, "Silent", message=error.message, why=JOBS_WAIT)
    return unreachable(target, error, "Check that MongooseIM runs, its listener (listen.http), and the target's URL.")
