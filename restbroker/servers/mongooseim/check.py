"""What `restbroker check` checks in a target of kind `mongooseim`. The registry calls `check`.

Always holds: nothing changes on the server; it is only asked who the login is, for its version, and for the number of
users in the domain.
"""

from collections.abc import Iterator
from typing import Final

import attrs

from restbroker.config.target import Target
from restbroker.errors import ConfigError
from restbroker.servers.api.checks import bad_login, finding, open_client, problem, unreachable
from restbroker.servers.api.health import Health
from restbroker.servers.findings import Finding, ok
from restbroker.servers.mongooseim import questions, schema
from restbroker.servers.mongooseim.answer import read
from restbroker.servers.mongooseim.options import Options
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Response

_SHIPPED_HOST: Final = "localhost"
_LOOPBACK: Final = ("localhost", "::1")


async def check(target: Target) -> list[Finding]:
    """Ask the target's server and return the findings; a failure that a person can act on is a finding, too.

    Safe to cancel.
    """
    try:
        response = await _ask(target)
        if response.status == 404 and await _is_host_refused(target):
            return [_other_host(target)]
    except (NotSent, MaybeSent) as error:
        return [_unreachable(target, error)]
    except ConfigError as error:
        return [bad_login(target, error)]
    found = questions.health_of(target, response)
    if not found.probe.ok:
        return [finding(target, found)]
    who = questions.login_text(target, response)
    return [_target_up(target, found, who), *_version(target, found), *_domain(target, response), *_open_to_all(target)]


async def _ask(target: Target) -> Response:
    request = questions.health(target, target.default_host, target.timeout_s)
    async with open_client(target) as http:
        return await http.send(request)


async def _is_host_refused(target: Target) -> bool:
    """Tell whether the server says 404 only for the `Host` that was sent, as its shipped listener for admins does."""
    if target.host_header == _SHIPPED_HOST:
        return False
    other = await _ask(attrs.evolve(target, host_header=_SHIPPED_HOST))
    return other.status != 404


def _target_up(target: Target, found: Health, who: str) -> Finding:
    first = finding(target, found)
    return attrs.evolve(first, message=f"{first.message} ({who})") if who else first


def _other_host(target: Target) -> Finding:
    message = f'{target.url} answers only to the Host "{_SHIPPED_HOST}".'
    return problem(target, "OtherHost", message, f'"HostHeader": "{_SHIPPED_HOST}"')


def _version(target: Target, found: Health) -> Iterator[Finding]:
    wanted, version = target.options_as(Options).server_version, found.probe.version
    if version is None:
        return
    if wanted != "auto" and schema.known_version(wanted) != schema.known_version(version):
        message = f"ServerVersion says {wanted}, and the server is {version}."
        why = "Operations and their arguments are those of the configured version."
        yield Finding("warning", target.name, "OtherVersion", message=message, why=why, hint='"ServerVersion": "auto"')
    counted = schema.known_version(version if wanted == "auto" else wanted)
    yield ok(target.name, "Version", f"It is MongooseIM {version}; operations as of {counted}.")


def _domain(target: Target, response: Response) -> Iterator[Finding]:
    domain, kind = target.default_host, target.options_as(Options).schema
    if kind == "user":
        return
    if domain is None:
        message = "Domain is missing: each job must name its domain."
        why = "The probe then does not notice a lost database until a job fails because of it."
        yield Finding(
            "note",
            target.name,
            "NoDomain",
            message=message,
            why=why,
            hint=f'"Domain": "example.org" in Targets.{target.name}',
        )
    elif any(problem.code == "domain_not_found" for problem in read(response.body).problems):
        message = f"The server does not serve {domain}, the target's Domain."
        why = "Jobs without their own domain would be refused."
        yield Finding(
            "warning",
            target.name,
            "UnknownHost",
            message=message,
            why=why,
            hint="Correct Domain, or add it to the server.",
        )
    else:
        yield ok(target.name, "Domain", f"It serves {domain}.")


def _open_to_all(target: Target) -> Iterator[Finding]:
    url = target.url
    is_local = url.socket is not None or url.host in _LOOPBACK or url.host.startswith("127.")
    if target.credentials is None and not is_local:
        message = f"{url} is on another machine and treats everyone as an admin."
        why = "Its listener has no username and password: anyone who reaches it can do anything there."
        hint = 'In mongooseim.toml, for that handler:\nusername = "admin"\npassword = "…"'
        yield Finding("warning", target.name, "OpenAdmin", message=message, why=why, hint=hint)


def _unreachable(target: Target, error: NotSent | MaybeSent) -> Finding:
    if isinstance(error, MaybeSent) and error.timed_out:
        hint = "Check the server's log and its database: it answers other requests at once."
        return problem(target, "Silent", error.message, hint)
    return unreachable(target, error, "Check that MongooseIM runs, its listener (listen.http), and the target's URL.")
