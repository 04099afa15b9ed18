"""Make a configuration from a few answers, those that `restbroker config init` asks for; pure.

Always holds: no secret is in the document; each is in a file of its own beside it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from restbroker.config.urls import redis_address
from restbroker.job.json_types import Json
from restbroker.kinds import FLAT
from restbroker.light import field, frozen

REDIS: Final = "redis://127.0.0.1:6379/0"
STATS_USER: Final = "ops"
"""The user for the pages: without a login every local account could edit jobs that carry others' tokens."""
ALERTS_PATH: Final = "/slack"
_NOTE: Final = "Every key is described in docs/configuration.md. Keys that begin with // or _ are comments."


@frozen
class SetupAnswers:
    """The answers of the operator: `user` is that of the login (None: no login), `domain` the default virtual host.

    `auth` is how the login is used (`RestAuth`). `password` belongs to the login; `password_file` is a file that has it
    already. `token_file` is a file with a bearer token, which replaces the login. `stats_password` is that of the web
    pages; None: there are none. `alerts_to`: the user at an ejabberd who gets what monitoring posts; None: nobody.
    """

    kind: str
    url: str
    redis_url: str = REDIS
    user: str | None = None
    domain: str | None = None
    queue: str = "rest"
    stats_password: str | None = field(default=None, repr=False)
    auth: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    token_file: Path | None = None
    alerts_to: str | None = None


@frozen
class Setup:
    """The configuration to write, and the secrets by the name of the file beside it that each belongs in."""

    document: Mapping[str, Json]
    secrets: Mapping[str, str] = field(repr=False)


def secret_names(stem: str) -> list[str]:
    """Return the names of the files that may be made: for token, login, Redis, pages, and two for alerts."""
    kinds = ("token", "password", "redis-password", "stats-password", "alerts-token", "alerts-secret")
    return [f"{stem}.{kind}" for kind in kinds]


def setup(answers: SetupAnswers, stem: str, new_secret: Callable[[], str]) -> Setup:
    """Return the configuration and secrets for these answers, whose addresses can be used.

    `stem` is that of the configuration file's name, with which the names of the secrets' files begin. Pure, apart from
    what `new_secret` returns.
    """
    redis = redis_address(answers.redis_url)
    of_token, of_login, of_redis, of_stats, *of_alerts = secret_names(stem)
    secrets = {of_token: new_secret()}
    document: dict[str, Json] = {"//": _NOTE, "RedisURL": redis.url}
    if redis.password is not None:
        secrets[of_redis] = redis.password.reveal()
        document["RedisPassFile"] = of_redis
    document["TokenFile"] = of_token
    place: str | None = None if answers.password_file is None else str(answers.password_file)
    if answers.password is not None:
        place = of_login
        secrets[place] = answers.password
    document |= _flat(answers, place) if answers.kind == FLAT else _target(answers, place)
    document |= {"History": "24h", "Stats": answers.stats_password is not None}
    if answers.stats_password is not None:
        secrets[of_stats] = answers.stats_password
        document |= {"StatsUser": STATS_USER, "StatsPassFile": of_stats}
    if answers.alerts_to is not None:
        secrets |= {name: new_secret() for name in of_alerts}
        document |= _alerts(answers, answers.alerts_to, *of_alerts)
    return Setup(document, secrets)


def _flat(answers: SetupAnswers, password: str | None) -> dict[str, Json]:
    login: dict[str, Json] = {}
    if answers.user is not None:
        login = {"RestAuth": answers.auth, "RestUser": answers.user, "RestPassFile": password}
    if answers.token_file is not None:
        login = {"RestTokenFile": str(answers.token_file)}
    domain: dict[str, Json] = {} if answers.domain is None else {"JabberDomain": answers.domain}
    return {"RestURL": answers.url, **login, **domain, "RestQueue": answers.queue}


def _target(answers: SetupAnswers, password: str | None) -> dict[str, Json]:
    entry: dict[str, Json] = {"Kind": answers.kind, "URL": answers.url}
    if answers.domain is not None:
        entry["Domain"] = answers.domain
    if answers.user is not None:
        entry["Auth"] = {"Basic": {"User": answers.user, "PassFile": password}}
    if answers.token_file is not None:
        entry["Auth"] = {"Bearer": {"TokenFile": str(answers.token_file)}}
    return {"Targets": {answers.kind: {**entry, "Queues": [answers.queue]}}}


def _alerts(answers: SetupAnswers, to: str, of_token: str, of_source: str) -> dict[str, Json]:
    """Return a source that sends one user what can be posted to Slack, by a token that may do nothing else."""
    host = answers.domain or to.partition("@")[2]
    hosts: list[Json] = [*dict.fromkeys([host, to.partition("@")[2]])]
    said: dict[str, Json] = {"type": "chat", "from": f"alerts@{host}", "to": to, "subject": "", "body": "{body}"}
    may: dict[str, Json] = {"Allow": ["send_message"], "Targets": [FLAT], "Hosts": hosts, "Signed": True}
    door: dict[str, Json] = {"Kind": "webhook", "Path": ALERTS_PATH, "SecretFile": of_source}
    does: dict[str, Json] = {"Target": FLAT, "Command": "send_message", "Token": "alerts", "Arguments": said}
    source = {**door, "Options": {"Shape": "slack"}, **does}
    return {"Tokens": {"alerts": {"SecretFile": of_token, **may}}, "Events": {"Sources": {"alerts": source}}}
