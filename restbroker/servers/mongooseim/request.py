"""Makes the HTTP request of a job, and those of the connector's own questions. Pure, but for reading secrets.

Called by the connector. Always holds: it is a POST, since MongooseIM would run a mutation from a GET's URL, too;
`Content-Type` is `application/json` with nothing behind it, or the answer is 415 (both measured); values are variables.
`Host` is set by the transport (`target.host_header`).
"""

from collections.abc import Mapping
from typing import Final

from restbroker.config.target import IssuedLogin, Target
from restbroker.job.command import Call
from restbroker.job.json_types import Json
from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.api.login import Headers, authorization
from restbroker.servers.api.request import json_body
from restbroker.servers.mongooseim import catalogue, command_attributes, documents, stanza, values
from restbroker.servers.mongooseim.document import document
from restbroker.servers.mongooseim.options import Options
from restbroker.servers.mongooseim.schema import Operation, Schema, type_of
from restbroker.transport.message import Request

_HEADERS: Final = (("Content-Type", "application/json"), ("Accept", "application/json"))
_ANSWER_LIMIT_BYTES: Final = 65_536
"""The most bytes that are read of the answer to a question of the connector's own."""
_OWN: Final = {"query": type_of("NonEmptyString!")}


def build(call: Call, operation: Operation | None, target: Target) -> Request:
    """Return the request of a call. `operation` is None if the job brings its own document.

    Raise `InvalidArguments`, or `ConfigError` for a secret that cannot be used.
    """
    if operation is None:
        body, is_query = _own_document(call)
    else:
        given = arguments_of(call, operation, target.options_as(Options).schema)
        if "id" in given and operation.name in command_attributes.TYPES:
            text, given = stanza.document(operation), {"stanza": stanza.stanza_of(operation, given, target)}
        else:
            text = document(operation, tuple(name for name in operation.arguments if name in given))
        body = json_body({"query": text, "variables": given})
        is_query = command_attributes.repeat_of(operation.name, is_query=operation.is_query) == "safe"
    headers = (*headers_of(target), *call.headers)
    return Request(
        "POST", target.url.path or "/", call.timeout_s, query=(), headers=headers, body=body, repeatable=is_query
    )


def arguments_of(call: Call, operation: Operation, kind: Schema) -> Mapping[str, Json]:
    """Return the job's arguments as the operation takes them, with the domain filled in. Raise `InvalidArguments`.

    A null is dropped where the operation takes such an argument, since MongooseIM drops nulls, too (measured).
    """
    types = catalogue.arguments_of(operation, kind)
    given = {name: value for name, value in call.command.arguments.items() if value is not None or name not in types}
    domain = types.get("domain")
    if domain is not None and domain.required and "domain" not in given:
        host = given.pop("host", call.host)
        if host is not None:
            given["domain"] = host
    values.check(given, types, operation.name)
    return given


def question(target: Target, text: str, variables: Mapping[str, Json], timeout_s: float) -> Request:
    """Return the request of a query of the connector's own, which does no harm.

    Raise `ConfigError` as `headers_of` does.
    """
    body = json_body({"query": text, "variables": dict(variables)})
    path = target.url.path or "/"
    return Request(
        "POST",
        path,
        timeout_s,
        query=(),
        headers=headers_of(target),
        body=body,
        body_limit_bytes=_ANSWER_LIMIT_BYTES,
        repeatable=True,
    )


def headers_of(target: Target) -> Headers:
    """Return the headers of every request to the target.

    Raise `ConfigError` if the login's secret cannot be read or used.
    """
    login = None if isinstance(target.credentials, IssuedLogin) else target.credentials
    return (*_HEADERS, *authorization(login))


def _own_document(call: Call) -> tuple[bytes, bool]:
    given = call.command.arguments
    for name in given:
        if name not in ("query", "variables"):
            raise InvalidArguments(f'the command {command_attributes.DOCUMENTS} takes "query" and "variables" alone')
    values.check({"query": given.get("query")}, _OWN, command_attributes.DOCUMENTS)
    variables = given.get("variables")
    if not isinstance(variables, dict | None):
        raise InvalidArguments('the argument "variables" is not an object')
    text = str(given["query"])
    is_query = documents.kind_of(text) == "query"
    return json_body({"query": text, "variables": variables or {}}), is_query
