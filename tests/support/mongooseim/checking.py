"""Reads a GraphQL document as MongooseIM does, and refuses it with that server's codes. Executes nothing.

Always holds: a document that passes has one operation to run, all of whose fields, arguments and literals fit the
schema, and variables that fit their types; a string literal in it still has the backslashes that it was written with,
as the server never takes them out.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Final

import attrs
from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    StringValueNode,
    Visitor,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
    visit,
)
from graphql.execution.values import VariableValues, get_variable_values
from graphql.validation import (
    FieldsOnCorrectTypeRule,
    KnownArgumentNamesRule,
    NoUnusedVariablesRule,
    OverlappingFieldsCanBeMergedRule,
    ProvidedRequiredArgumentsRule,
    ScalarLeafsRule,
    ValuesOfCorrectTypeRule,
    VariablesInAllowedPositionRule,
)

_SCANNER: Final = ("Invalid character", "Unterminated string", "Unexpected character", "Invalid number", "Cannot parse")
_MISSING: Final = ("was not provided", "to be provided", "was not to be null", "found null")
_CODES: Final[Mapping[Any, str]] = {
    FieldsOnCorrectTypeRule: "unknown_field",
    KnownArgumentNamesRule: "excess_args",
    ProvidedRequiredArgumentsRule: "missing_non_null_param",
    VariablesInAllowedPositionRule: "type_mismatch",
    ScalarLeafsRule: "selection_on_scalar",
}
_NOT_CHECKED: Final = (NoUnusedVariablesRule, OverlappingFieldsCanBeMergedRule)


@attrs.frozen
class Refused(Exception):
    """The request as a whole is refused. Without a `code` the answer has no body."""

    status: int
    code: str | None = None
    message: str = ""
    path: tuple[str, ...] = ("ROOT",)


@attrs.frozen
class Request:
    """A document that passed. `variables` are what came, without the entries that were null."""

    document: DocumentNode
    operation: OperationDefinitionNode
    variables: dict[str, Any]
    coerced: VariableValues


class _AsTheServerReads(Visitor):
    """Literals stay as they were written, and what stands side by side runs in the order of the alphabet."""

    def enter_string_value(self, node: StringValueNode, *_: object) -> StringValueNode:
        if node.block or node.loc is None:
            return node
        return dataclasses.replace(node, value=node.loc.source.body[node.loc.start + 1 : node.loc.end - 1])

    def enter_selection_set(self, node: SelectionSetNode, *_: object) -> SelectionSetNode:
        return dataclasses.replace(node, selections=tuple(sorted(node.selections, key=_response_key)))


def _response_key(node: object) -> str:
    return (node.alias or node.name).value if isinstance(node, FieldNode) else ""


def checked(schema: GraphQLSchema, query: str, variables: Mapping[str, Any], name: str | None) -> Request:
    """What is to be run. Raises Refused."""
    document = _parsed(query)
    operation = get_operation_ast(document, name or None)
    if operation is None:
        raise Refused(400, "operation_not_found", f"Operation not found: {name}")
    if operation.operation is OperationType.SUBSCRIPTION:
        raise Refused(400, "unsupported_operation", "Subscriptions are served by Server-Sent Events")
    _validate(schema, document)
    given = {key: value for key, value in variables.items() if value is not None}
    return Request(document, operation, given, _coerced(schema, operation, given))


@functools.lru_cache(maxsize=256)
def _parsed(query: str) -> DocumentNode:
    try:
        read: DocumentNode = visit(parse(query), _AsTheServerReads())
    except GraphQLSyntaxError as error:
        is_scanned = not any(word in error.message for word in _SCANNER)
        raise Refused(400, "parser_error" if is_scanned else "scanner_error", error.message) from None
    return read


@functools.lru_cache(maxsize=256)
def _validate(schema: GraphQLSchema, document: DocumentNode) -> None:
    for rule in specified_rules:
        found = [] if rule in _NOT_CHECKED else validate(schema, document, [rule])
        if found:
            code = _value_code(found[0]) if rule is ValuesOfCorrectTypeRule else _CODES.get(rule, "invalid_document")
            raise Refused(400, code, found[0].message, ("ROOT", *_where(found[0])))


def _where(error: GraphQLError) -> list[str]:
    return [node.name.value for node in error.nodes or () if isinstance(node, FieldNode)]


def _value_code(error: GraphQLError) -> str:
    if "enum" in error.message:
        return "unknown_enum"
    if any(words in error.message for words in _MISSING):
        return "missing_non_null_param"
    return "input_coercion"


def _coerced(schema: GraphQLSchema, operation: OperationDefinitionNode, given: dict[str, Any]) -> VariableValues:
    result = get_variable_values(schema, operation.variable_definitions or (), given)
    if isinstance(result, list):
        raise Refused(400, _value_code(result[0]), result[0].message)
    return result
