"""A target of kind `prosody-rest`, alone and with the modules beside it."""

from collections.abc import Mapping

import pytest

from tests.support.receiver import Answer
from tests.unit.servers.conftest import Usual

BASIC = {"Basic": {"User": "broker", "Pass": "b4sic-s3cr3t"}}


@pytest.fixture
def usual() -> Usual:
    """Of this kind."""
    url = "http://127.0.0.1:5280/rest"
    entry = {"Kind": "prosody-rest", "URL": url, "Auth": BASIC, "Domain": "example.org"}
    return Usual("chat", entry, "/rest", lambda _: Answer(202, b""))


def all_modules(url: str) -> Mapping[str, str]:
    """Options that name each module of this server."""
    return {"AdminURL": f"{url}/admin_api", "AdminToken": "4dmin", "MsgURL": f"{url}/msg"}
