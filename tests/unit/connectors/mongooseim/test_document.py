"""The documents: GraphQL that the schema of a running MongooseIM takes, with nothing of a job's values in it."""

from pathlib import Path

import graphql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.connectors.mongooseim.document import document
from restbroker.connectors.mongooseim.schema import Operation, operations

# Written by others than the catalogue: of what a 6.8.0 said of itself.
SCHEMA = graphql.build_schema(
    (Path(__file__).parents[3] / "support" / "mongooseim" / "schema.graphql").read_text("utf-8")
)
ADMIN = operations("admin", "6.8.0")


@given(st.data())
def test_every_operation_is_understood_whatever_is_given(data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(list(ADMIN.values())), label="operation")
    optional = [name for name, kind in operation.arguments.items() if not kind.required]
    chosen = data.draw(st.sets(st.sampled_from(optional)) if optional else st.just(set()), label="optional")
    names = tuple(name for name, kind in operation.arguments.items() if kind.required or name in chosen)
    parsed = graphql.parse(document(operation, names))
    assert graphql.validate(SCHEMA, parsed) == []
    (definition,) = parsed.definitions
    assert isinstance(definition, graphql.OperationDefinitionNode)
    assert (definition.operation.value == "query") == operation.is_query


@pytest.mark.parametrize("operation", ADMIN.values(), ids=list(ADMIN))
def test_all_of_a_result_is_asked_for(operation: Operation) -> None:
    asked = graphql.parse(document(operation, tuple(operation.arguments)))
    fields = {node.name.value for node in _fields(asked)}
    kind = graphql.get_named_type(graphql.type_from_ast(SCHEMA, graphql.parse_type(operation.returns.text)))
    if isinstance(kind, graphql.GraphQLObjectType):
        # A vCard's agent has a vCard: that is where it ends.
        assert set(kind.fields) <= fields


def test_values_are_variables() -> None:
    text = document(ADMIN["account.registerUser"], ("domain", "password"))
    assert text == (
        "mutation($domain:DomainName!,$password:String!)"
        "{account{registerUser(domain:$domain,password:$password){jid message}}}"
    )


def test_what_has_no_category_and_no_arguments_has_neither() -> None:
    assert document(ADMIN["checkAuth"], ()) == "query{checkAuth{authStatus authType domain}}"


def test_a_member_with_two_types_is_told_under_two_names() -> None:
    text = document(ADMIN["mnesia.systemInfo"], ())
    assert "MnesiaStringResponse{key result}" in text
    assert "MnesiaListResponse{key resultList:result}" in text
    assert "MnesiaIntResponse{key resultInt:result}" in text


def _fields(document_: graphql.DocumentNode) -> list[graphql.FieldNode]:
    found: list[graphql.FieldNode] = []

    class Finder(graphql.Visitor):
        def enter_field(self, node: graphql.FieldNode, *_: object) -> None:
            found.append(node)

    graphql.visit(document_, Finder())
    return found
