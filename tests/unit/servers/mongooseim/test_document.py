"""The documents: GraphQL that the schema of a running MongooseIM takes, with nothing of a job's values in it."""

from pathlib import Path

import graphql

from restbroker.servers.mongooseim.document import document
from restbroker.servers.mongooseim.schema import operations

# Written by others than the catalogue: of what a 6.8.0 said of itself.
SCHEMA = graphql.build_schema(
    (Path(__file__).parents[3] / "support" / "mongooseim" / "schema.graphql").read_text("utf-8")
)
ADMIN = operations("admin", "6.8.0")


def test_every_operation_is_understood_and_asks_for_all_of_its_result() -> None:
    wrong = []
    for operation in ADMIN.values():
        parsed = graphql.parse(document(operation, tuple(operation.arguments)))
        (definition,) = parsed.definitions
        assert isinstance(definition, graphql.OperationDefinitionNode), operation
        kind = graphql.get_named_type(graphql.type_from_ast(SCHEMA, graphql.parse_type(operation.returns.text)))
        # A vCard's agent has a vCard: that is where it ends.
        wanted = set(kind.fields) if isinstance(kind, graphql.GraphQLObjectType) else set()
        missing = wanted - {node.name.value for node in _fields(parsed)}
        problems = graphql.validate(SCHEMA, parsed)
        if problems or missing or (definition.operation.value == "query") != operation.is_query:
            wrong.append((operation.name, problems, missing))
    assert wrong == []


def test_values_are_variables() -> None:
    text = document(ADMIN["account.registerUser"], ("domain", "password"))
    assert text == (
        "mutation($domain:DomainName!,$password:String!)"
        "{account{registerUser(domain:$domain,password:$password){jid message}}}"
    )
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
