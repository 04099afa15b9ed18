"""The commands of a target of kind `http`, which are those of its configuration, and the request for each, as a recipe.

`options` makes them, the connector reads them, also through the registry. Always holds: loads no Trio; secrets are in
`Secret`s, and one in a file is read again whenever it is needed.
"""

import re
from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType
from typing import Final

from restbroker.config.secret import Secret
from restbroker.config.target import Target
from restbroker.config.values import without_logins
from restbroker.errors import ConfigError
from restbroker.job.command import Catalogue, CommandSpec
from restbroker.job.template import TemplateText
from restbroker.light import field, frozen
from restbroker.servers.http.template import Path, Template

_PATH: Final = re.compile(r"/?[A-Za-z0-9._~!$&'()*+,;=:@%-]+(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")
_VALUE: Final = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?", re.ASCII)


@frozen
class Recipe:
    """The request for one command.

    `body` None: no body, or with `spec.takes_more` the arguments that are in neither path nor query.
    """

    spec: CommandSpec
    method: str
    path: Path
    query: Mapping[str, TemplateText]
    body: Template = field(repr=False)
    """Not shown, as a secret may stand in it, though it should be a header."""
    encoding: str
    headers: Mapping[str, Secret]
    success: tuple[range, ...]
    retry: tuple[range, ...]
    secret_path: Secret | None
    """What is appended to the URL in place of `path`, if it is secret."""
    has_key: bool
    """Whether it carries an `Idempotency-Key`."""
    secret_headers: frozenset[str]
    """The headers, in lower case, whose values are secret; with those of the target."""


@frozen
class HttpSettings:
    """The options of a target of kind `http`, ready for use; `probe`: method and path, if one is configured."""

    recipes: Mapping[str, Recipe]
    catalogue: Catalogue
    headers: Mapping[str, Secret] = MappingProxyType({})
    signing: tuple[Secret, ...] = ()
    probe: tuple[str, str] | None = None


def settings_of(target: Target) -> HttpSettings:
    """Return the target's settings; settings without any command for a target that no configuration made."""
    return (
        target.options
        if isinstance(target.options, HttpSettings)
        else HttpSettings({}, Catalogue("", {}, is_whole=True))
    )


def secrets_of(settings: HttpSettings) -> tuple[Secret, ...]:
    """Return all secrets in the settings; values of headers such as `Accept` are not among them."""
    recipes = settings.recipes.values()
    hidden = frozenset[str]().union(*(recipe.secret_headers for recipe in recipes))
    headers = chain(settings.headers.items(), *(recipe.headers.items() for recipe in recipes))
    paths = (recipe.secret_path for recipe in recipes if recipe.secret_path is not None)
    return (*settings.signing, *paths, *(secret for name, secret in headers if name.lower() in hidden))


def header_value(secret: Secret) -> str:
    """Return the secret as a header's value; raise `ConfigError` if it cannot be read or put into a header."""
    value = secret.reveal()
    if not _VALUE.fullmatch(value):
        raise ConfigError("A header's value is empty or has characters beyond visible ASCII.", "Put in only the value.")
    return value


def named(secret: Secret) -> str:
    """Return the name of the secret's file, or other words if it has none."""
    return "its variable" if secret.path is None else without_logins(str(secret.path))


def path_value(secret: Secret) -> str:
    """Return the secret as a path, with a slash before it; raise `ConfigError` if it cannot be read or is none."""
    value = secret.reveal()
    if not _PATH.fullmatch(value) or {".", ".."} & {*value.split("/")}:
        why = f"The path in {named(secret)} is empty, or has other characters than a path."
        raise ConfigError(why, "Put in what follows the URL.")
    return f"/{value.removeprefix('/')}"


def for_version(_version: str | None) -> Catalogue:
    """Return a catalogue without commands: there are none without a configuration."""
    return Catalogue("", {}, is_whole=True)


def for_target(target: Target, _found: str | None, _endpoint: str = "") -> Catalogue:
    """Return all commands that a job may ask for; the catalogue's `version` is the target's name."""
    return settings_of(target).catalogue
