"""Runs a GraphQL request on the stand-in's world and makes MongooseIM's answer of it: status, data, errors with codes.

Called by the stand-in's HTTP side. Always holds: an operation is answered by its own function, or by well-typed values
of the schema; a refusal is an error with the path of its field, beside the data of what did succeed.
"""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import attrs
from graphql import (
    DirectiveNode,
    FieldNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    execute_sync,
    value_from_ast_untyped,
)
from graphql.execution.values import get_argument_values

from tests.support.mongooseim.checking import Refused, Request, checked
from tests.support.mongooseim.filler import filled
from tests.support.mongooseim.operations import OPERATIONS
from tests.support.mongooseim.scalars import Jid, install
from tests.support.mongooseim.world import Refusal, World

_HERE: Final = Path(__file__).parent
_FREE: Final = frozenset({"checkAuth", "__schema", "__type", "__typename"})
_WITHOUT_DATABASE: Final = ("checkAuth", "server.")
_OWNERS: Final = ("domain", "user", "userA", "from", "caller", "sender", "room", "mucDomain", "owner", "senderJid")
"""Arguments that say which domain an operation is about; a room's is below its server's."""

Endpoint = Literal["admin", "domain_admin", "user"]


@attrs.frozen
class Caller:
    """Who asks. `kind` is None for somebody who did not log in."""

    kind: Endpoint | None
    domain: str = ""
    jid: Jid | None = None


@attrs.frozen
class Run:
    """One request on its way. `crashes`: what needs the database fails."""

    world: World
    caller: Caller
    unloaded: frozenset[str] = frozenset()
    crashes: bool = False


@functools.cache
def schema_of(endpoint: Endpoint) -> GraphQLSchema:
    """What an endpoint knows; nobody changes it."""
    text = (_HERE / "schema.graphql").read_text("utf-8")
    if endpoint == "user":
        head, _, rest = text.partition("schema {")
        text = head + rest.partition("}")[2] + (_HERE / "user.graphql").read_text("utf-8")
    schema = build_schema(text)
    install(schema)
    return schema


def names(request: Request) -> list[str]:
    """The operations in a request, as `category.operation`."""
    return [name for name, _ in _operations(request.operation)]


def _operations(operation: OperationDefinitionNode) -> Iterator[tuple[str, FieldNode]]:
    for category in _fields(operation):
        if category.selection_set is None or category.name.value in _FREE:
            yield category.name.value, category
            continue
        for field in _fields(category):
            yield f"{category.name.value}.{field.name.value}", field


def _fields(node: OperationDefinitionNode | FieldNode) -> list[FieldNode]:
    chosen = node.selection_set.selections if node.selection_set else ()
    return [one for one in chosen if isinstance(one, FieldNode)]


def permitted(schema: GraphQLSchema, request: Request, caller: Caller) -> None:
    """Raises Refused for what this caller may not do: then nothing of the document is run."""
    for name, field in _operations(request.operation):
        if name in _FREE or name.endswith(".__typename"):
            continue
        if caller.kind is None:
            raise Refused(401, "no_permissions", "Cannot execute query without permissions")
        if caller.kind == "domain_admin" and not _is_own(schema, request, name, field, caller.domain):
            raise Refused(401, "no_permissions", "Cannot execute query without permissions", ("ROOT", *name.split(".")))


def _is_own(schema: GraphQLSchema, request: Request, name: str, field: FieldNode, domain: str) -> bool:
    category, _, operation = name.partition(".")
    root = schema.get_root_type(request.operation.operation)
    assert root is not None
    kind = root.fields[category].type
    assert isinstance(kind, GraphQLObjectType)
    definition = kind.fields[operation]
    if _told(definition.ast_node, "protected").get("type") == "GLOBAL":
        return False
    arguments = get_argument_values(definition, field, request.coerced)
    domains = [_domain(value) for key, value in arguments.items() if key in _OWNERS and value is not None]
    return all(one == domain or one.endswith(f".{domain}") for one in domains)


def _domain(value: object) -> str:
    return value.domain if isinstance(value, Jid) else str(value)


def _told(node: Any, name: str) -> dict[str, Any]:
    directives: list[DirectiveNode] = [one for one in node.directives if one.name.value == name]
    return {one.name.value: value_from_ast_untyped(one.value) for found in directives for one in found.arguments or ()}


def run(schema: GraphQLSchema, request: Request, run_: Run) -> dict[str, Any]:
    """The body of the answer with status 200."""
    result = execute_sync(
        schema,
        request.document,
        variable_values=request.variables,
        operation_name=request.operation.name.value if request.operation.name else None,
        context_value=run_,
        field_resolver=_resolved,
    )
    body: dict[str, Any] = {"data": _reversed(result.data)}
    if result.errors:
        body["errors"] = [_error(one) for one in result.errors]
    return body


def _reversed(data: Any) -> Any:
    """Members come in an order of their own."""
    match data:
        case dict():
            return {key: _reversed(data[key]) for key in reversed(list(data))}
        case list():
            return [_reversed(one) for one in data]
    return data


def _error(error: GraphQLError) -> dict[str, Any]:
    path = list(error.path or ())
    match error.original_error:
        case Refusal(code, message, more):
            return {"extensions": {"code": code, **more}, "message": message, "path": path}
    return {"extensions": {"code": "resolver_crash"}, "message": "Unexpected internal resolver crash", "path": path}


def _resolved(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
    depth = len(info.path.as_list()) if info.path else 0
    if depth == 1:
        return _who(info.context) if info.field_name == "checkAuth" else {}
    if info.parent_type.name.endswith(("Query", "Mutation")):
        return _operation(f"{_category(info)}.{info.field_name}", info, arguments)
    return source.get(info.field_name) if isinstance(source, Mapping) else None


def _category(info: GraphQLResolveInfo[Any]) -> str:
    """The category's own name: the path may hold its alias."""
    root = info.schema.get_root_type(info.operation.operation)
    assert root is not None
    return next(str(name) for name, field in root.fields.items() if field.type is info.parent_type)


def _who(run_: Run) -> dict[str, Any]:
    if run_.caller.kind is None:
        return {"authStatus": "UNAUTHORIZED", "authType": "UNAUTHORIZED", "domain": None, "username": None}
    kind = "DOMAIN_ADMIN" if run_.caller.kind == "domain_admin" else "ADMIN"
    username = run_.caller.jid.bare if run_.caller.jid else None
    return {"authStatus": "AUTHORIZED", "authType": kind, "domain": run_.caller.domain or None, "username": username}


def _operation(name: str, info: GraphQLResolveInfo[Any], arguments: dict[str, Any]) -> Any:
    run_: Run = info.context
    definition = info.parent_type.fields[info.field_name]
    if run_.crashes and not name.startswith(_WITHOUT_DATABASE):
        raise RuntimeError("no database")
    _loaded(_told(definition.ast_node, "use"), run_.unloaded)
    if run_.caller.kind == "user":
        arguments = _of_user(arguments, run_)
    function = OPERATIONS.get(name)
    if function is None:
        return filled(definition.type)
    with run_.world.lock:
        return function(run_.world, **arguments)


def _loaded(needed: Mapping[str, Any], unloaded: frozenset[str]) -> None:
    for kind in ("modules", "services"):
        missing = [one for one in needed.get(kind, ()) if one in unloaded]
        if missing:
            message = f"Some of the required {kind} are not loaded"
            raise Refusal("deps_not_loaded", message, {f"not_loaded_{kind}": missing})


def _of_user(arguments: dict[str, Any], run_: Run) -> dict[str, Any]:
    """A message is his own: he need not say so, and may not say anything else."""
    assert run_.caller.jid is not None
    given = arguments.get("from")
    if given is not None and given.bare != run_.caller.jid.bare:
        raise Refusal("invalid_sender", "Sender's JID is different from authorized user's JID")
    return {**arguments, "from": given or run_.caller.jid}


def read(schema: GraphQLSchema, given: Any) -> Request:
    """The request in a JSON body. Raises Refused."""
    query, variables = given.get("query"), given.get("variables") or {}
    if not isinstance(query, str) or not query:
        raise Refused(400, "no_query_supplied", "The query was not supplied in the request body")
    return checked(schema, query, variables, given.get("operationName"))
