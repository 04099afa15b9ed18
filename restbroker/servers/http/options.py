"""The options that a target of kind `http` takes: the request of each command, its signature, the meaning of answers.

The loader makes an instance, whose `check` turns it into `catalogue.HttpSettings`, the options of the finished target.
Always holds: no Trio is loaded here; a broken template, a secret that cannot be read and a header that is not allowed
are problems that name their place.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

import attrs

from restbroker.config.forms import AnyValue
from restbroker.config.key import Form, Items, Names, key
from restbroker.config.kind import At
from restbroker.config.logins import note_plain
from restbroker.config.problems import Problems, at
from restbroker.config.secret import Secret
from restbroker.config.target import IssuedLogin, Target
from restbroker.config.values import BadValue, is_plain, without_logins
from restbroker.errors import ConfigError
from restbroker.job.command import ArgumentSpec, Catalogue, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.names import NODE
from restbroker.job.template import BadTemplate, TemplateText, parse_text
from restbroker.light import frozen
from restbroker.servers.http import signature, template
from restbroker.servers.http.catalogue import HttpSettings, Recipe, header_value, path_value, secrets_of
from restbroker.servers.http.template import Path, Template

Method: TypeAlias = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
COMMAND: Final = r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,63}"
_HEADER: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}"
_NAME: Final = r"[^\s{}\ud800-\udfff]{1,100}"
_CLASS: Final = re.compile(r"([2-5])xx")
_WHERE: Final[dict[str, Json]] = {
    "type": "object",
    "properties": {"File": {"type": "string"}, "Env": {"type": "string"}},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}


def _status(value: Json) -> range:
    if isinstance(value, int) and not isinstance(value, bool) and 200 <= value <= 599:
        return range(value, value + 1)
    if isinstance(value, str) and (found := _CLASS.fullmatch(value)):
        first = int(found[1]) * 100
        return range(first, first + 100)
    raise BadValue('a status from 200 to 599, or a class such as "2xx"', value)


def _secret(value: Json) -> str | tuple[str, str]:
    if isinstance(value, Mapping) and len(value) == 1:
        ((where, named),) = value.items()
        if where in ("File", "Env") and isinstance(named, str) and named and is_plain(named):
            return where, named
    elif isinstance(value, str) and is_plain(value):
        return value
    raise BadValue('a string without line breaks, {"File": "its path"} or {"Env": "its variable"}', value)


Statuses: TypeAlias = Annotated[
    tuple[range, ...],
    Items(
        "list of statuses",
        'a list of statuses such as [200, 202] or ["2xx", 404]',
        Form("status", {"anyOf": [{"type": "integer"}, {"enum": ["2xx", "3xx", "4xx", "5xx"]}]}, _status),
    ),
]
WrittenSecret: TypeAlias = Annotated[
    str | tuple[str, str], Form("string, `File` or `Env`", {"anyOf": [{"type": "string"}, _WHERE]}, _secret)
]
"""A secret as it is written: its text, or where it is ("File" or "Env") and the name of that."""
Secrets: TypeAlias = Annotated[
    tuple[WrittenSecret, ...],
    Items("list of `File` or `Env`", 'a list of secrets such as [{"File": "/run/credentials/hook"}]'),
]
Headers: TypeAlias = Annotated[Mapping[str, WrittenSecret], Names("secrets by header", _HEADER, "a header's name")]
Query: TypeAlias = Annotated[Mapping[str, str], Names("templates by name", _NAME, "a name without blanks and braces")]


T = TypeVar("T")
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE"})
_RETRY: Final = (408, 425, 429, 500, 502, 503, 504)
_REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "expect"}
    | {"via", "idempotency-key", "traceparent", "webhook-id", "webhook-timestamp", "webhook-signature"}
)
"""Headers that the client and the connector write by themselves."""
_SECRET_NAME: Final = re.compile("auth|cookie|key|pass|secret|token|session|credential|signature")

_NOTHING: Mapping[str, WrittenSecret] = MappingProxyType({})
_NO_QUERY: Mapping[str, str] = MappingProxyType({})


@frozen(kw_only=True)
class CommandKeys:
    """The keys of one command."""

    method: Method = key("Method", default="POST")
    """The request's method."""
    path: WrittenSecret = key("Path", default="")
    """Appended to the target's URL: a template such as /users/{user}, or {"File": …} with one that is secret, no
    template."""
    query: Query = key("Query", default=_NO_QUERY)
    """What follows the path; each value is a template."""
    body: AnyValue = key("Body", in_repr=False)
    """JSON whose strings are templates; by default, an object of the arguments that Path and Query do not use."""
    encoding: Literal["json", "form", "none"] | None = key("Encoding", shown="json")
    """The body's encoding. Unset, GET, HEAD and DELETE have no body."""
    headers: Headers = key("Headers", default=_NOTHING, secret=True)
    """Headers to add to the target's, or to replace them."""
    success: Statuses = key("Success", default=(range(200, 300),), shown=["2xx"])
    """Statuses that mean success."""
    retry: Statuses = key("Retry", default=tuple(range(status, status + 1) for status in _RETRY), shown=list(_RETRY))
    """Statuses after which it is retried; with any other the job dies."""
    idempotent: bool = key("Idempotent", default=False)
    """Safe to send twice: the receiver recognises repetitions by `Idempotency-Key` or `webhook-id` (the jid). GET,
    HEAD, PUT and DELETE always are."""


@frozen(kw_only=True)
class ProbeKeys:
    """The keys of the request that tests whether the target works."""

    method: Literal["GET", "HEAD"] = key("Method", default="GET")
    """The request's method."""
    path: str = key("Path", default="")
    """Appended to the target's URL; no template."""


@frozen(kw_only=True)
class Options:
    """What is written under `Options`."""

    commands: Annotated[Mapping[str, CommandKeys], Names("commands by name", COMMAND, "a command's name")] = key(
        "Commands", default=MappingProxyType({}), mandatory="always"
    )
    """The commands of jobs; nothing else is sent."""
    headers: Headers = key("Headers", default=_NOTHING, secret=True)
    """Headers of every request."""
    signing: Secrets = key("SigningSecrets", default=(), secret=True)
    """Sign requests as in Standard Webhooks with each of these (`whsec_…`); several during a rotation."""
    probe: ProbeKeys | None = key("Probe")
    """The request that tests target and login: 2xx, or 401 and 403. Without it, HEAD of the URL: any status below 500
    means that the target works."""
    allow_private: bool = key("AllowPrivate", default=False)
    """Connect to private networks too: loopback, 10.0.0.0/8, link-local, …"""

    def check(self, target: Target, at: At, problems: Problems) -> Target:
        """Return the target with its `HttpSettings` as options; add problems of these options to `problems`."""
        settings = _make_settings(self, target, at, problems)
        secrets = secrets_of(settings)
        return attrs.evolve(target, options=settings, secrets=secrets, public_only=not self.allow_private)


def _make_settings(options: Options, target: Target, place_of: At, problems: Problems) -> HttpSettings:
    """Return the settings in these options of a target."""
    place = place_of("Options")
    if not options.commands:
        problems.refuse(at(place, "Commands"), "is missing or empty; it says what is sent for each command.")
    if isinstance(target.credentials, IssuedLogin):
        problems.refuse(
            place_of("Auth"), "asks for tokens that the server issues, which only ejabberd does; use Basic or Token."
        )
    if target.url.socket is not None and not options.allow_private:
        why = "is a unix socket, which is not a public address; set AllowPrivate in Options."
        problems.refuse(place_of("URL"), why)
    has_login = target.credentials is not None
    recipes = {
        name: _recipe(name, keys, at(at(place, "Commands"), name), problems, has_login=has_login)
        for name, keys in options.commands.items()
    }
    hidden = _secret_names(options.headers)
    recipes = {name: attrs.evolve(made, secret_headers=made.secret_headers | hidden) for name, made in recipes.items()}
    if not has_login and any(recipe.secret_headers for recipe in recipes.values()):
        note_plain(target.url, problems)
    return HttpSettings(
        MappingProxyType(recipes),
        Catalogue(target.name, {name: recipe.spec for name, recipe in recipes.items()}, is_whole=True),
        _headers(options.headers, at(place, "Headers"), problems, has_login=has_login),
        signing=tuple(_signing_secrets(options.signing, at(place, "SigningSecrets"), problems)),
        probe=None
        if options.probe is None
        else (options.probe.method, _probe_path(options.probe.path, place, problems)),
    )


def _recipe(name: str, keys: CommandKeys, place: str, problems: Problems, *, has_login: bool) -> Recipe:
    path: Path = ()
    secret_path = None
    if isinstance(keys.path, str):
        path = _parse(template.parse_path, keys.path, at(place, "Path"), problems) or ()
    else:
        secret_path = _try_secret(keys.path, at(place, "Path"), problems, path_value)
    query = {
        item: _parse(parse_text, text, at(place, f"Query.{item}"), problems) or TemplateText(())
        for item, text in keys.query.items()
    }
    encoding = keys.encoding or ("none" if keys.method in _BODILESS else "json")
    body = None if keys.body is None else _parse(template.parse_value, keys.body, at(place, "Body"), problems)
    if body is not None and encoding == "none":
        why = f"is given, but {keys.method} has no body; set Encoding, or remove it."
        problems.refuse(at(place, "Body"), why)
    if encoding == "form" and not isinstance(body, Mapping | None):
        problems.refuse(at(place, "Body"), "must be an object where Encoding is form.")
    if any(status in retry for success in keys.success for status in success for retry in keys.retry):
        problems.refuse(at(place, "Retry"), "has a status that is in Success too.")
    is_safe = keys.idempotent or keys.method in _REPEATABLE
    spec = CommandSpec(
        name=name,
        arguments=_arguments((path, tuple(query.values()), body)),
        repeat="safe" if is_safe else "unsafe",
        tags=frozenset({keys.method.lower()}),
        takes_more=keys.body is None and encoding != "none",
        # No one knows what its arguments mean there: a token that is bound to hosts must not ask for it.
        beyond=True,
    )
    headers = _headers(keys.headers, at(place, "Headers"), problems, has_login=has_login)
    return Recipe(
        spec,
        keys.method,
        path,
        query=query,
        body=body,
        encoding=encoding,
        headers=headers,
        success=keys.success,
        retry=keys.retry,
        secret_path=secret_path,
        has_key=keys.idempotent,
        secret_headers=_secret_names(keys.headers),
    )


def _arguments(parts: Template) -> tuple[ArgumentSpec, ...]:
    """Return each argument once, in the order of the request; it is optional if every place can do without it."""
    optional: dict[str, bool] = {}
    for name, may_be_missing in template.names_in(parts):
        optional[name] = optional.get(name, True) and may_be_missing
    return tuple(ArgumentSpec(name, "any", secret=name == NODE, optional=may) for name, may in optional.items())


def _parse(parse: Callable[[Any], T], written: object, place: str, problems: Problems) -> T | None:
    try:
        return parse(written)
    except BadTemplate as bad:
        problems.refuse(place, str(bad))
        return None


def _probe_path(text: str, place: str, problems: Problems) -> str:
    path = _parse(template.parse_path, text, at(place, "Probe.Path"), problems) or ()
    if any(True for _ in template.names_in(path)):
        problems.refuse(at(place, "Probe.Path"), "has an argument; a probe has none.")
        return ""
    return template.fill_path(path, {})


def _headers(
    given: Mapping[str, WrittenSecret], place: str, problems: Problems, *, has_login: bool
) -> Mapping[str, Secret]:
    """Return these headers by their names in lower case."""
    found: dict[str, Secret] = {}
    for name, written in given.items():
        where, lower = at(place, name), name.lower()
        if lower in _OURS:
            problems.refuse(where, "is a header that restbroker writes itself; remove it.")
        elif lower == "authorization" and has_login:
            problems.refuse(where, "is given in addition to a login; keep one of the two.")
        elif (secret := _try_secret(written, where, problems, header_value)) is not None:
            found[lower] = secret
    return MappingProxyType(found)


def _secret_names(given: Mapping[str, WrittenSecret]) -> frozenset[str]:
    """Return the names of secret headers: their value is elsewhere, or their name says so; `Accept` is none."""
    return frozenset(
        name.lower()
        for name, written in given.items()
        if not isinstance(written, str) or _SECRET_NAME.search(name.lower())
    )


def _signing_secrets(given: tuple[WrittenSecret, ...], place: str, problems: Problems) -> Iterator[Secret]:
    for number, written in enumerate(given):
        secret = _try_secret(written, f"{place}[{number}]", problems, lambda one: signature.key_of(one.reveal()))
        if secret is not None:
            yield secret


def _try_secret(
    written: WrittenSecret, place: str, problems: Problems, use: Callable[[Secret], object]
) -> Secret | None:
    """Return the secret after using it once; None, and a problem in `problems`, if that does not work."""
    match written:
        case ("Env", name) if name not in problems.environ:
            problems.refuse(place, f"names the variable {without_logins(name)}, which is not set.")
            return None
        case ("Env", name):
            secret = Secret(problems.environ[name])
        case (_, file):
            secret = Secret(path=problems.base / file)
        case text:
            secret = Secret(text)
    try:
        use(secret)
    except ConfigError as error:
        problems.refuse(place, error.message)
        return None
    return secret
