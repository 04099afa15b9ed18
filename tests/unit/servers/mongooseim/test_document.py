"""The documents: GraphQL that a running MongooseIM takes, with no value of a job in it; and those of a job's own."""

import json
from pathlib import Path

import graphql
from graphql.execution.values import get_variable_values

from restbroker.config.target import Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.servers.mongooseim.catalogue import Operation, operations
from restbroker.servers.mongooseim.request import build, document
from tests.unit.servers.mongooseim.conftest import example

# Written by others than the catalogue: of what a 6.8.0 said of itself.
SCHEMA = graphql.build_schema(
    (Path(__file__).parents[3] / "recorded" / "mongooseim" / "6.8" / "schema.graphql").read_text("utf-8")
)
# MongooseIM's library has no such rule: mongooseimctl itself asks for `result` of three types (measured).
RULES = [one for one in graphql.specified_rules if one is not graphql.OverlappingFieldsCanBeMergedRule]
ADMIN = operations("admin", "6.8.0")
TARGET = Target("mim", "mongooseim", Url("http", "localhost", 5551, "/api/graphql"), ("q",))


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
        problems = graphql.validate(SCHEMA, parsed, RULES)
        if problems or missing or (definition.operation.value == "query") != operation.is_query:
            wrong.append((operation.name, problems, missing))
    assert wrong == []


def test_every_operation_is_sent_as_the_schema_takes_it_with_and_without_what_is_optional() -> None:
    wrong = []
    for operation in ADMIN.values():
        for optional in (False, True):
            taken = {key: kind for key, kind in operation.arguments.items() if kind.required or optional}
            problems = _problems(operation, {key: example(kind) for key, kind in taken.items()})
            if problems:
                wrong.append((operation.name, optional, problems))
    assert wrong == []


def test_a_message_with_an_id_is_sent_as_the_schema_takes_it() -> None:
    for name in ("stanza.sendMessage", "stanza.sendMessageHeadLine"):
        arguments = {key: example(kind) for key, kind in ADMIN[name].arguments.items()}
        assert _problems(ADMIN[name], {**arguments, "id": "m1"}) == []


def _problems(operation: Operation, arguments: dict[str, Json]) -> list[graphql.GraphQLError]:
    """What the schema has against the request of such a job: against its document, else against its variables."""
    sent = json.loads(build(Call(Command(operation.name, arguments)), operation, TARGET).body)
    parsed = graphql.parse(sent["query"])
    definition = graphql.get_operation_ast(parsed)
    assert definition is not None
    values = get_variable_values(SCHEMA, definition.variable_definitions or (), sent["variables"])
    return graphql.validate(SCHEMA, parsed, RULES) or (values if isinstance(values, list) else [])


def _fields(document_: graphql.DocumentNode) -> list[graphql.FieldNode]:
    found: list[graphql.FieldNode] = []

    class Finder(graphql.Visitor):
        def enter_field(self, node: graphql.FieldNode, *_: object) -> None:
            found.append(node)

    graphql.visit(document_, Finder())
    return found
