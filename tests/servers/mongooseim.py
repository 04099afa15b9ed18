"""MongooseIM 6.8 for the tests of this folder: what it was recorded to answer, and what came to the player of that."""

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from tests.support.player import Exchange, Player, recorded

PATH: Final = "/api/graphql"


def exchanges(
    *names: str, others: Mapping[str, str] | None = None, user: str = "admin", password: str | None = None
) -> list[Exchange]:
    """Return those of these files; `others={"carol": "dave"}`: about dave where the files are about carol.

    `password`: of `user`, who alone is answered then.
    """
    found = recorded(*(f"mongooseim/6.8/{name}" for name in names))
    if password is not None:
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        found = [attrs.evolve(made, headers={"authorization": f"Basic {login}"}) for made in found]
    for before, after in (others or {}).items():
        written = json.dumps(after, ensure_ascii=False)[1:-1]
        found = [
            attrs.evolve(
                made, body=(made.body or "").replace(before, written), answer=made.answer.replace(before, written)
            )
            for made in found
        ]
    return found


def sent(server: Player, operation: str) -> list[dict[str, Any]]:
    """Return the variables of each request for this operation, in order."""
    documents = [json.loads(request.body) for request in list(server.requests)]
    return [document["variables"] for document in documents if operation in document["query"]]


def entry(server: Player, **members: Any) -> dict[str, Any]:
    """Return the target of this server in env.json."""
    return {
        "Kind": "mongooseim",
        "URL": f"http://localhost:{server.port}{PATH}",
        "Domain": "localhost",
        "Auth": {"Basic": {"User": "admin", "Pass": "secret"}},
        "Queues": ["mim"],
        **members,
    }
