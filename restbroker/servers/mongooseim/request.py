"""Makes the HTTP request of a job, and those of the connector's own questions. Pure, but for reading secrets.

Called by the connector. Always holds: it is a POST, since MongooseIM would run a mutation from a GET's URL, too;
`Content-Type` is `application/json` with nothing behind it, or the answer is 415 (both measured); values are variables.
`Host` is set by the transport (`target.host_header`). All names are known and all required members are there; whether a
value fits its type, MongooseIM says before it does anything (read in `mongoose_graphql` of 6.8.0), except where it
would take any value, print a secret, or repeat a long text as the name of an enum (measured), and of XML: its parser
takes `&#27;` and unknown entities (read in exml).

Values never stand in the text of a document, since MongooseIM does not unescape its strings (measured); an argument
without a value is not in it, so that the server's own default counts; the selection covers the whole result, as far as
its types are known, under the names of the schema. A union may have a member of several types, as `result` of
mnesia.systemInfo: MongooseIM takes that, though GraphQL does not (measured). Of a job's own document nothing is
checked: MongooseIM refuses a subscription (measured), several operations (read in its GraphQL library) and what it
cannot read before it does anything.

A message with an `id` of its job's own is sent as a stanza, since `sendMessage` makes up another id for each sending:
the stanza is what MongooseIM makes of such a message (read in 6.0.0, 6.8.0), except for the `id`; the answer has the
place and form of the operation's own.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Final
from xml.etree import ElementTree as ET

from restbroker.config.target import Basic, Target
from restbroker.job.command import Call
from restbroker.job.endpoint import kind_of, quote
from restbroker.job.jid import fold_case
from restbroker.job.json_types import Json
from restbroker.servers.api.attributes import is_secret_argument
from restbroker.servers.api.request import Headers, authorization, harmless_request, json_body
from restbroker.servers.api.table import InvalidArguments, did_you_mean
from restbroker.servers.api.xml import UnreadableXml, read
from restbroker.servers.mongooseim import catalogue
from restbroker.servers.mongooseim.catalogue import Operation, Type
from restbroker.servers.mongooseim.command_attributes import ATTRIBUTES, DOCUMENTS, STANZA
from restbroker.servers.mongooseim.options import Options, Schema
from restbroker.transport.message import Request

_XML: Final = "XmlElement"
_ENUM_NAME: Final = re.compile("[_A-Za-z][_0-9A-Za-z]*")
"""What a value of an enum may be: a newer server may have newer ones than the catalogue."""
_HEADERS: Final = (("Content-Type", "application/json"), ("Accept", "application/json"))


def build(call: Call, operation: Operation | None, target: Target, headers: Headers) -> Request:
    """Return the request of a call. `operation` is None if the job brings its own document.

    `headers`: those of `headers_of`.

    Raise `InvalidArguments`, or `ConfigError` for a secret that cannot be used.
    """
    if operation is None:
        body, is_query = _own_document(call)
    else:
        given = arguments_of(call, operation, target.options_as(Options).schema)
        if "id" in given and operation.name in ATTRIBUTES.types:
            text, given = stanza_document(operation), {"stanza": stanza_of(operation, given, target)}
        else:
            text = document(operation, tuple([name for name in operation.arguments if name in given]))
        body = json_body({"query": text, "variables": given})
        is_query = operation.repeat == "safe"
    path, headers = target.url.path or "/", headers + call.headers
    return Request("POST", path, call.timeout_s, query=(), headers=headers, body=body, repeatable=is_query)


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
    if not given.keys() <= types.keys():
        _require_known(given, types, f"there is an argument {{}}, which {operation.name} does not have")
    for name, wanted in types.items():
        value = given.get(name)
        if value is not None or wanted.required:
            _check_members(name, value, wanted)
    return given


def question(target: Target, text: str, variables: Mapping[str, Json], timeout_s: float) -> Request:
    """Return the request of a query of the connector's own, which does no harm.

    Raise `ConfigError` as `headers_of` does.
    """
    body = json_body({"query": text, "variables": dict(variables)})
    return harmless_request(target, target.url.path, headers_of(target), "POST", body, timeout_s)


def headers_of(target: Target) -> Headers:
    """Return the headers of every request to the target.

    Raise `ConfigError` if the login's secret cannot be read or used.
    """
    return (*_HEADERS, *authorization(target.credentials))


def _own_document(call: Call) -> tuple[bytes, bool]:
    given = call.command.arguments
    for name in given:
        if name not in ("query", "variables"):
            raise InvalidArguments(f'the command {DOCUMENTS} takes "query" and "variables" alone')
    text, variables = given.get("query"), given.get("variables")
    if not isinstance(text, str):
        raise InvalidArguments('the argument "query" is missing, or is not a string')
    if not isinstance(variables, dict | None):
        raise InvalidArguments('the argument "variables" is not an object')
    # A keyword has no other spelling.
    is_query = "mutation" not in text
    return json_body({"query": text, "variables": variables or {}}), is_query


def _check_members(place: str, value: Json, kind: Type) -> None:
    """Raise `InvalidArguments` if a required member is missing, or one is unknown; `place` is the value's own name."""
    fields = catalogue.fields_of_input(kind.name)
    if value is None:
        if kind.required:
            raise InvalidArguments(f'the argument "{place}" is missing')
    elif kind.item is not None and isinstance(value, list):
        for number, item in enumerate(value, start=1):
            _check_members(f"{place}[{number}]", item, kind.item)
    elif fields is None:
        _check_value(place, value, kind)
    elif not isinstance(value, dict):  # MongooseIM would crash on some of these
        raise InvalidArguments(f'the argument "{place}" is {kind_of(value)}, where an object is needed')
    else:
        _require_known(value, fields, f'the argument "{place}" has a member {{}}, which {kind.name} does not have')
        for field, inner in fields.items():
            _check_members(f"{place}.{field}", value.get(field), inner)


def _check_value(place: str, value: Json, kind: Type) -> None:
    """Raise `InvalidArguments` for what MongooseIM would take, repeat or print, and should not."""
    names = catalogue.names_of_enum(kind.name)
    if not isinstance(value, str) and _must_be_text(place, kind):
        raise InvalidArguments(f'the argument "{place}" is {kind_of(value)}, where a string is needed')
    if names and not _ENUM_NAME.fullmatch(str(value)):  # it would be repeated, however long it is
        raise InvalidArguments(f'the argument "{place}" must be one of {", ".join(names)}')
    if kind.name == _XML and isinstance(value, str):
        try:
            read(value)
        except UnreadableXml as error:  # what clients would not take for XML
            raise InvalidArguments(f'the argument "{place}" {error}') from None


def _must_be_text(place: str, kind: Type) -> bool:
    """Tell whether MongooseIM would take any value here, or print one that is secret."""
    takes_any = kind.name == "NonEmptyString" or bool(catalogue.names_of_enum(kind.name))
    return takes_any or is_secret_argument(place.rpartition(".")[2])


def _require_known(given: Collection[str], known: Collection[str], message: str) -> None:
    """Raise `InvalidArguments` for a name that is unknown; it takes the place of the `{}` in the message."""
    for name in given:
        if name not in known:
            raise InvalidArguments(message.format(quote(name)) + did_you_mean(name, known))


def stanza_document(operation: Operation) -> str:
    """Return the GraphQL document that sends a stanza (the variable `stanza`) and answers as this operation would."""
    category, name = operation.path
    sent = STANZA.partition(".")[2]
    return f"mutation($stanza:XmlElement){{{category}{{{name}:{sent}(stanza:$stanza){{id}}}}}}"


def stanza_of(operation: Operation, given: Mapping[str, Json], target: Target) -> str:
    """Return the stanza of a message with these arguments.

    Raise `InvalidArguments` for what MongooseIM would refuse in `sendMessage`, but not in a stanza.
    """
    _require_texts(given)
    sender = given.get("from") or (target.credentials.user if isinstance(target.credentials, Basic) else "")
    ends = {"from": _prepare(str(sender)), "to": _prepare(str(given["to"]))}
    message = ET.Element("message", {"type": ATTRIBUTES.types[operation.name], **ends, "id": str(given["id"])})
    for name in ("subject", "body"):
        if name in given:
            ET.SubElement(message, name).text = str(given[name])
    return ET.tostring(message, "unicode")


def _require_texts(given: Mapping[str, Json]) -> None:
    for name, value in given.items():
        if not isinstance(value, str) or (name == "id" and not value):
            raise InvalidArguments(f'the argument "{name}" must be a string, and an id not empty')
        if name in ("from", "to") and "@" not in value.partition("/")[0]:
            raise InvalidArguments(f'the argument "{name}" is not a JID such as alice@example.org')


def _prepare(jid: str) -> str:
    """Return the JID with its bare part folded, as MongooseIM writes it: JIDs in a stanza it leaves as they are."""
    bare, slash, resource = jid.partition("/")
    return fold_case(bare) + slash + resource


@lru_cache(maxsize=1000)
def document(operation: Operation, given: tuple[str, ...]) -> str:
    """Return the GraphQL document of an operation; `given` names the arguments to pass as variables, all its own."""
    declared = ",".join(f"${name}:{operation.arguments[name].text}" for name in given)
    passed = ",".join(f"{name}:${name}" for name in given)
    *category, field = operation.path
    text = f"{field}{f'({passed})' if given else ''}{selection(operation.returns)}"
    text = f"{category[0]}{{{text}}}" if category else text
    return f"{'query' if operation.is_query else 'mutation'}{f'({declared})' if given else ''}{{{text}}}"


def selection(result: Type) -> str:
    """Return the selection of all fields of a result type, such as `{jid name}`; "" for a scalar."""
    return _selection(result.name, ())


def _selection(name: str, above: tuple[str, ...]) -> str:
    members = catalogue.members_of_union(name)
    if members:
        text = " ".join(f"... on {member}{_selection(member, (*above, name))}" for member in members)
    else:
        text = " ".join(_of_object(name, (*above, name)))
    return f"{{{text}}}" if text else ""


def _of_object(name: str, above: tuple[str, ...]) -> Iterator[str]:
    for field, kind in catalogue.fields_of_object(name).items():
        if kind.name in above:
            continue  # or it would have no end
        inside = _selection(kind.name, above)
        if inside or not _has_members(kind.name):
            yield field + inside


def _has_members(name: str) -> bool:
    return bool(catalogue.fields_of_object(name) or catalogue.members_of_union(name))
