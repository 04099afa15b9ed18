"""A target of kind `mongooseim`, and what its server says."""

import json
from typing import Any

import pytest

from restbroker.job.json_types import Json
from restbroker.servers.mongooseim import catalogue
from tests.support.receiver import Answer, Received
from tests.unit.servers.conftest import Act, Usual

JID = "alice@localhost"
_EXAMPLES: dict[str, Json] = {
    **dict.fromkeys(("Int", "PosInt", "NonNegInt"), 1),
    "Boolean": True,
    "JID": JID,
    "BareJID": JID,
    "FullJID": f"{JID}/x",
    "NodeName": "a@b",
    "DateTime": "2026-01-01T00:00:00Z",
    "XmlElement": f"<message from='{JID}' to='{JID}'/>",
}
BASIC = {"Basic": {"User": "admin", "Pass": "b4sic-s3cr3t"}}


@pytest.fixture
def usual() -> Usual:
    """The usual target of this kind."""
    url = "http://localhost:5551/api/graphql"
    entry = {"Kind": "mongooseim", "URL": url, "Auth": BASIC, "Domain": "localhost"}
    return Usual("chat", entry, "/api/graphql", lambda _: Answer(), "localhost")


def says(*bodies: Any, status: int = 200) -> Act:
    """Says one after the other; the last one from then on."""
    left = list(bodies)

    def act(_: Received) -> Answer:
        body = left.pop(0) if len(left) > 1 else left[0]
        return body if isinstance(body, Answer) else Answer(status, json.dumps(body).encode())

    return act


def refusal(code: str, message: str = "It is so", *path: str | int, **more: Any) -> dict[str, Any]:
    """An error as GraphQL writes it."""
    return {"message": message, "path": list(path), "extensions": {"code": code, **more}}


def example(kind: catalogue.Type) -> Json:
    """A value of this type."""
    if kind.item is not None:
        return [example(kind.item)]
    if (fields := catalogue.fields_of_input(kind.name)) is not None:
        return {name: example(field) for name, field in fields.items() if field.required or name == "action"}
    if names := catalogue.names_of_enum(kind.name):
        return names[0]
    return _EXAMPLES.get(kind.name, "text")
