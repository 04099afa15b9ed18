"""Writes the listener of `mongooseim.toml` that offers what the tokens allow, as far as MongooseIM can limit it. Pure.

The registry calls `suggest`. Always holds: no password is written. `allowed_categories` is as narrow as a listener can
be: it allows or leaves out a category as a whole. (The key was read in MongooseIM's source, and not tried.)
"""

import json
from collections.abc import Iterator
from typing import Final

from restbroker.config.target import Basic, Target
from restbroker.config.urls import is_loopback
from restbroker.servers.allowed_commands import AllowedCommands
from restbroker.servers.mongooseim.command_attributes import DOCUMENTS
from restbroker.servers.mongooseim.options import Options

_WHO: Final = "checkAuth"
_SERVER: Final = "server"
_ACCOUNT: Final = "account"


def suggest(target: Target, allowed: AllowedCommands) -> str:
    """Return the lines of the listener, with remarks above them on what to know about it."""
    return "\n".join((*_remarks(target, allowed), *_listener(target, allowed)))


def _remarks(target: Target, allowed: AllowedCommands) -> Iterator[str]:
    schema = target.options_as(Options).schema
    yield f"# mongooseim.toml, for the target {target.name}: replaces the listener on its port; restart MongooseIM"
    if schema != "admin":
        yield f"# The rights are those of the account that logs in; the schema {schema} has no login of its own."
    if DOCUMENTS in allowed.commands:
        documents = DOCUMENTS
        yield f"# A token allows {documents}, documents of any kind, so that no category can be left out."
    else:
        yield "# A category is allowed as a whole. The tokens' Allow says which of its operations jobs may run:"
        yield from (f"#   {line}" for line in _by_category(allowed))
    if allowed.hosts and schema == "admin":
        hosts = ", ".join(allowed.hosts)
        yield f"# An admin's listener has no domains: only restbroker keeps jobs to {hosts}."


def _by_category(allowed: AllowedCommands) -> Iterator[str]:
    operations: dict[str, list[str]] = {}
    for name in allowed.commands:
        category, _, operation = name.partition(".")
        operations.setdefault(category, []).append(operation)
    for category, names in operations.items():
        yield f"{category}: {', '.join(names)}"


def _listener(target: Target, allowed: AllowedCommands) -> Iterator[str]:
    url, schema = target.url, target.options_as(Options).schema
    yield "[[listen.http]]"
    yield f'  ip_address = "{"127.0.0.1" if is_loopback(url.host) else "THE ADDRESS THAT RESTBROKER REACHES"}"'
    yield f"  port = {url.port}"
    yield "  transport.num_acceptors = 10"
    if url.scheme == "https":
        yield '  tls.certfile = "THE CERTIFICATE, WITH ITS KEY"'
    yield ""
    yield "  [[listen.http.handlers.mongoose_graphql_handler]]"
    yield f"    host = {json.dumps(target.host_header or url.host)}"
    yield f"    path = {json.dumps(url.path or '/')}"
    yield f"    schema_endpoint = {json.dumps(schema)}"
    if schema == "admin" and isinstance(target.credentials, Basic):
        yield f"    username = {json.dumps(target.credentials.user)}"
        yield '    password = "THE TARGET\'S PASSWORD"'
    if DOCUMENTS not in allowed.commands:
        yield f"    allowed_categories = {json.dumps(_categories(target, allowed))}"


def _categories(target: Target, allowed: AllowedCommands) -> list[str]:
    """Return the categories of the allowed commands and of restbroker's own questions: login, version and database."""
    schema = target.options_as(Options).schema
    own = {_WHO}
    if schema == "admin":
        own.add(_SERVER)
    if schema != "user":
        own.add(_ACCOUNT)
    return sorted(own | {name.partition(".")[0] for name in allowed.commands})
