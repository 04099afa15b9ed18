"""MongooseIM's operations: what the catalogue says of them, the documents that are sent, and the words of `ctl`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import graphql
from graphql.execution.values import get_variable_values

from restbroker.config.target import Target, Url
from restbroker.job.command import Call, Command, CommandSpec
from restbroker.job.json_types import Json
from restbroker.servers.ctl import CtlCommand, CtlOutput, CtlRefusal, JobReply
from restbroker.servers.mongooseim.catalogue import Operation, for_target, for_version, operations
from restbroker.servers.mongooseim.ctl import DIALECT
from restbroker.servers.mongooseim.options import Options, Schema
from restbroker.servers.mongooseim.request import build
from tests.unit.servers.mongooseim.conftest import example

ALL = for_version(None)
URL = Url("http", "localhost", 5551, "/api/graphql")


def of(schema: Schema, version: str = "auto", found: str | None = None) -> set[str]:
    target = Target("mim", "mongooseim", URL, ("q",), options=Options(schema, version))
    return set(for_target(target, found).commands)


def test_a_version_has_what_came_until_then() -> None:
    rows: list[tuple[str | None, str, int]] = [
        (None, "6.8.0", 132),
        ("nonsense", "6.8.0", 132),
        ("5.1.0", "6.0.0", 115),
        ("6.5.0", "6.2.0", 117),
        ("6.8.0-12-gabc", "6.8.0", 132),
        ("7.0.0", "6.8.0", 132),
    ]
    for wanted, found, commands in rows:
        catalogue = for_version(wanted)
        assert (catalogue.version, len(catalogue.commands)) == (found, commands), wanted


def test_command_on_the_server_itself_is_dangerous() -> None:
    words = {
        **dict.fromkeys(("server.stop", "server/stop", "Server.Stop"), "server"),
        "mnesia.backup": "database files",
        "graphql": "cluster code database files server",
        "account.registerUser": "",
    }
    assert {name: " ".join(sorted(set().union(*ALL.dangerous_in(name).values()))) for name in words} == words
    # Nor is any that names a file or a machine for everybody.
    places = ("files", "path", "node", "resultFilepath")
    takes = {spec.name for spec in ALL.commands.values() if any(map(spec.argument, places))}
    assert {command for command in takes if not ALL.dangerous_in(command)} == set()


# Written by others than the catalogue: of what a 6.8.0 said of itself.
SCHEMA = graphql.build_schema(
    (Path(__file__).parents[3] / "recorded" / "mongooseim" / "6.8" / "schema.graphql").read_text("utf-8")
)
# MongooseIM's library has no such rule: mongooseimctl itself asks for `result` of three types (measured).
RULES = [rule for rule in graphql.specified_rules if rule is not graphql.OverlappingFieldsCanBeMergedRule]
ADMIN = operations("admin", "6.8.0")
TARGET = Target("mim", "mongooseim", Url("http", "localhost", 5551, "/api/graphql"), ("q",))


def test_every_operation_is_sent_as_the_schema_takes_it() -> None:
    """Optional arguments are sent or left out."""
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
    sent = json.loads(build(Call(Command(operation.name, arguments)), operation, TARGET, ()).body)
    parsed = graphql.parse(sent["query"])
    definition = graphql.get_operation_ast(parsed)
    assert definition is not None
    values = get_variable_values(SCHEMA, definition.variable_definitions or (), sent["variables"])
    return graphql.validate(SCHEMA, parsed, RULES) or (values if isinstance(values, list) else [])


NEWEST: Final = for_version(None)
RECORDED: Final = Path(__file__).parents[3] / "recorded/mongooseim/6.8/ctl.jsonl"
OPERATIONS: Final = [spec for name, spec in NEWEST.commands.items() if "." in name]


def read(*words: str) -> CtlCommand | CtlOutput | CtlRefusal:
    return DIALECT.read(NEWEST, words, None)


def values_of(spec: CommandSpec) -> dict[str, Json]:
    return {name: example(kind) for name, kind in operations("admin", NEWEST.version)[spec.name].arguments.items()}


def flags(values: dict[str, Json]) -> list[str]:
    return [
        word
        for name, value in values.items()
        for word in (f"--{name}", value if isinstance(value, str) else json.dumps(value))
    ]


def test_each_operation_is_two_words_with_a_flag_per_argument() -> None:
    wrong = []
    for spec in OPERATIONS:
        values = values_of(spec)
        found = read(*spec.name.split("."), *flags(values))
        if not isinstance(found, CtlCommand) or (found.name, found.endpoint, found.arguments) != (
            spec.name,
            spec.name,
            values,
        ):
            wrong.append((spec.name, found))
    assert wrong == []


def test_each_operation_says_which_arguments_it_lacks() -> None:
    wrong = []
    for spec in OPERATIONS:
        category, operation = spec.name.split(".")
        found = read(category, operation)
        missing = ", ".join(f"'{argument.name}'" for argument in spec.arguments if not argument.optional)
        says = CtlOutput(f"Missing mandatory arguments for command '{operation}': {missing}\n\n", 1)
        is_right = isinstance(found, CtlOutput) and (found.text, found.code) == (says.text, says.code)
        if not (is_right if missing else isinstance(found, CtlCommand)):
            wrong.append((spec.name, found))
    assert wrong == []


def test_command_line_refused_by_mongooseimctl_has_its_words() -> None:
    rows: list[tuple[Sequence[str], str, int]] = [
        (("nothing", "here"), "Unknown category\n\n", 1),
        (("account", "nothing"), "Unknown command 'nothing'\n\n", 1),
        (("account", "countUsers", "example.org"), "Could not parse the command arguments\n\n", 1),
        (("account", "countUsers", "--name", "x"), "Unknown argument 'name' for command 'countUsers'\n\n", 1),
        (
            ("account", "listUsers", "--limit", "x"),
            "Invalid value 'x' of argument 'limit' for command 'listUsers'\n\n",
            1,
        ),
        (("graphql",), "This command requires one string type argument!\n", 1),
        (("account",), "", 0),
        (("account", "countUsers", "--help"), "", 0),
    ]
    for words, text, code in rows:
        found = read(*words)
        assert isinstance(found, CtlOutput), (words, text)
        assert found.text.startswith(text), (words, text)
        assert found.code == code, (words, text)


def test_value_the_server_refuses_is_pushed_for_it_to_refuse() -> None:
    for line in RECORDED.read_text("utf-8").splitlines():
        recorded: dict[str, Any] = json.loads(line)
        assert isinstance(read(*recorded["words"]), CtlCommand), recorded


def test_own_message_id_is_refused_as_the_server_refuses_it() -> None:
    words = ["stanza", "sendMessage", "--from", "a@b", "--to", "b@x", "--body", "x"]
    found = read(*words, "--id", "y")
    assert isinstance(found, CtlOutput)
    assert found.text == "Unknown argument 'id' for command 'sendMessage'\n\n"
    assert (found.code, "--id" in str(found.note)) == (1, False)


def test_user_is_refused_by_the_types_of_the_servers_schema() -> None:
    target = Target("t", "mongooseim", Url("http", "localhost", 5561, "/"), ("q",), options=Options(schema="user"))
    words = ("stanza", "sendMessage", "--to", "bob@localhost", "--body", "hello")
    assert isinstance(DIALECT.read(for_target(target, None), words, None), CtlCommand)


def test_a_document_of_ones_own_is_taken() -> None:
    found = read("graphql", "query { checkAuth { authStatus } }")
    assert isinstance(found, CtlCommand)
    assert (found.name, found.arguments) == ("graphql", {"query": "query { checkAuth { authStatus } }"})


def test_server_machine_command_is_refused_with_an_alternative() -> None:
    for word in ("start", "stop", "status", "join_cluster", "live"):
        found = read(word)
        assert isinstance(found, CtlRefusal), word
        assert found.hint, word


def test_empty_value_has_three_lines_as_in_mongooseimctl() -> None:
    one = read("session", "listSessions")
    assert isinstance(one, CtlCommand)
    text = '{"data":{"a":[],"b":"[]","c":[[],{}]}}'
    found = DIALECT.write(NEWEST, one, JobReply("delivered", text, json.loads(text), 200, ""))
    lines = ["{", '  "data" : {', '    "a" : [', "      ", "    ],", '    "b" : "[]",', '    "c" : [']
    lines += ["      [", "        ", "      ],", "      {", "        ", "      }", "    ]", "  }", "}", ""]
    assert found == CtlOutput("\n".join(lines), 0)


def test_answer_with_errors_exits_1_and_a_page_is_not_an_error() -> None:
    one = read("account", "countUsers", "--domain", "example.org")
    assert isinstance(one, CtlCommand)
    text = '{"errors":[{"message":"no"}]}'
    found = DIALECT.write(NEWEST, one, JobReply("rejected", text, None, 200, "NotFound"))
    assert found is not None
    assert found.code == 1
    assert DIALECT.write(NEWEST, one, JobReply("denied", "<html>", None, 404, "WrongUrl")) is None
    assert DIALECT.write(NEWEST, one, JobReply("uncertain", "", None, None, "TimedOut")) is None
