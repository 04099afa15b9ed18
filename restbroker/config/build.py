"""Judges the keys together and makes the finished configuration of them.

Called by `config.load`. Always holds: every problem is named, not only the first; what works but deserves a look
becomes a note.
"""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path

from restbroker.config.core import Config, Keys, Note
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Bearer, Credentials, Target, Url
from restbroker.config.tokens import Token
from restbroker.config.urls import BadUrl, RedisAddress, RestAddress, redis_address, redis_host, rest_address
from restbroker.config.values import is_plain
from restbroker.errors import ConfigError

DEFAULT_REDIS = "redis://localhost:6379"
DEFAULT_REST = "http://localhost:5281"
_BEARER = re.compile(r"[\x21-\x7e]+")


def build(keys: Keys, base: Path, kinds: Mapping[str, type], problems: list[str], notes: list[Note]) -> Config | None:
    """The configuration; None when something was added to `problems`. Relative secret files start at `base`."""
    redis = _redis(keys, problems)
    redis_password = _secret("RedisPass", keys.redis_pass, keys.redis_pass_file, base, problems)
    if redis is not None and redis.password is not None and redis_password is not None:
        problems.append("RedisPass: is given beside a password in RedisURL; keep one of them.")
    target = _target(keys, base, kinds, problems, notes)
    token = _secret("Token", keys.token, keys.token_file, base, problems)
    if (token is None and keys.token_file is None) or (keys.token is not None and not keys.token.strip()):
        problems.append("Token: is missing or empty; it is the token that each job must carry (or use TokenFile).")
    _judge_together(keys, problems, notes)
    if problems or redis is None or target is None or token is None:
        return None
    return Config(
        redis_url=redis.url,
        redis_password=redis_password or redis.password,
        namespace=keys.redis_namespace or "",
        targets=(target,),
        tokens=(Token("default", (token,)),),
        response_queue=keys.response_queue,
        response_details=keys.response_details,
        response_class=keys.response_class,
        backoff=keys.backoff,
        uncertain_retries=keys.uncertain_retries,
        shutdown_timeout_s=keys.shutdown_timeout,
        stats=keys.stats,
        stats_bind=keys.stats_bind,
        stats_port=keys.stats_port,
        health_bind=keys.health_bind,
        log_level=keys.log_level,
        show_bodies=keys.show_bodies,
    )


def _judge_together(keys: Keys, problems: list[str], notes: list[Note]) -> None:
    if keys.response_queue is not None and keys.response_queue == keys.rest_queue:
        problems.append("ResponseQueue: is the same as RestQueue, so that every answer would become a job.")
    if keys.stats and not _is_loopback(keys.stats_bind):
        problems.append(
            f"StatsBind: {keys.stats_bind} is open to others, and /stats has no login; use a loopback address, and a "
            "reverse proxy with a login in front of it. (HealthBind may listen anywhere.)"
        )
    if keys.shutdown_timeout < keys.request_timeout:
        notes.append(
            Note(
                "ShortShutdown",
                "ShutdownTimeout is shorter than RequestTimeout: a stop may cut off running requests.",
                "Make ShutdownTimeout the longer one.",
            )
        )


def _redis(keys: Keys, problems: list[str]) -> RedisAddress | None:
    try:
        text = keys.redis_url or (redis_host(keys.redis_host) if keys.redis_host else DEFAULT_REDIS)
        return redis_address(text, keys.redis_database)
    except BadUrl as bad:
        problems.append(str(bad))
        return None


def _target(keys: Keys, base: Path, kinds: Mapping[str, type], problems: list[str], notes: list[Note]) -> Target | None:
    if keys.rest_queue is None:
        problems.append("RestQueue: is missing or empty; it is the queue to serve.")
    if keys.rest_url is None:
        notes.append(
            Note("DefaultURL", f"RestURL is not given; using {DEFAULT_REST}.", "ejabberd's API is usually under /api.")
        )
    try:
        address = rest_address(keys.rest_url or DEFAULT_REST)
    except BadUrl as bad:
        problems.append(str(bad))
        return None
    if keys.jabber_domain is None:
        message = "JabberDomain is not given: each job must name the host that its command is about."
        notes.append(Note("NoDomain", message, 'Give "JabberDomain", e.g. "example.org".'))
    if address.assumed_http:
        notes.append(Note("NoScheme", f"RestURL names no scheme; using {address.url}.", "Write the whole URL."))
    # The flat keys mean one server, of the first kind.
    kind = next(iter(kinds))
    return Target(
        name=kind,
        kind=kind,
        url=address.url,
        queues=(keys.rest_queue,) if keys.rest_queue else (),
        credentials=_credentials(keys, base, address, problems, notes),
        host_header=keys.host_header or keys.jabber_domain,
        default_host=keys.jabber_domain,
        concurrency=keys.concurrency,
        timeout_s=keys.request_timeout,
        connect_timeout_s=keys.connect_timeout,
        idle_expiry_s=keys.idle_expiry,
        at_most_once=keys.at_most_once,
        options=kinds[kind](server_version=keys.server_version),
    )


def _credentials(keys: Keys, base: Path, address: RestAddress, problems: list[str], notes: list[Note]) -> Credentials:
    basic = _basic(keys, base, address, problems, notes)
    token = _secret("RestToken", keys.rest_token, keys.rest_token_file, base, problems)
    if token is not None and not _BEARER.fullmatch(token.reveal()):
        problems.append("RestToken: must be printable ASCII without blanks, as a bearer token is.")
    bearer = Bearer(token) if token is not None else None
    found: Credentials = None
    match keys.rest_auth:
        case "basic":
            found = basic
        case "bearer":
            found = bearer
        case _ if basic is not None and bearer is not None:
            problems.append("RestAuth: say basic or bearer, since both RestUser and RestToken are given.")
        case _:
            found = basic or bearer
    if found is None and keys.rest_auth != "auto":
        wanted = "RestUser and RestPass" if keys.rest_auth == "basic" else "RestToken"
        problems.append(f"RestAuth: is {keys.rest_auth}, which needs {wanted}.")
    elif found is None:
        cure = "Give RestUser and RestPass, or RestToken, unless the server allows this machine by its address."
        notes.append(Note("NoCredentials", "No login for the server is given.", cure))
    elif address.url.scheme == "http" and not _is_local(address.url):
        cure = "Use https, or reach the server over loopback."
        notes.append(Note("PlainLogin", f"The login goes unencrypted to {address.url.origin}.", cure))
    return found


def _basic(keys: Keys, base: Path, address: RestAddress, problems: list[str], notes: list[Note]) -> Basic | None:
    password = _secret("RestPass", keys.rest_pass, keys.rest_pass_file, base, problems)
    if keys.rest_user is None:
        if password is not None:
            problems.append("RestUser: is missing or empty, although RestPass is given.")
        if address.credentials is not None:
            cure = "Use RestUser and RestPassFile, so that the URL can be shown."
            notes.append(Note("LoginInURL", "The login is taken from RestURL.", cure))
        return address.credentials
    if address.credentials is not None:
        notes.append(Note("LoginInURL", "RestUser is used, not the login in RestURL.", "Remove it from RestURL."))
    if ":" in keys.rest_user:
        problems.append("RestUser: must not hold a colon, which HTTP Basic cannot carry.")
    if password is None:
        if keys.rest_pass_file is None:
            problems.append("RestPass: is missing or empty, although RestUser is given (or use RestPassFile).")
        return None
    return Basic(keys.rest_user, password)


def _secret(name: str, value: str | None, file: str | None, base: Path, problems: list[str]) -> Secret | None:
    """A secret that was given one way or the other, tried once; None when it was not, or cannot be used."""
    if file is None:
        return None if value is None else Secret(value)
    secret = Secret(path=base / file)
    try:
        text = secret.reveal()
    except ConfigError as error:
        problems.append(f"{name}File: {error.message}")
        return None
    if not text.strip() or not is_plain(text):
        problems.append(f"{name}File: {secret.path} must hold one line that is not empty.")
        return None
    return secret


def _is_local(url: Url) -> bool:
    return url.socket is not None or _is_loopback(url.host)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
