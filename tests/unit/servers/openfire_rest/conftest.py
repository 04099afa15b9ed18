"""A target of kind `openfire-rest`, and what its server says."""

import pytest

from tests.support.receiver import Answer
from tests.unit.servers.conftest import Act, Usual

BASE = "/plugins/restapi/v1"
BASIC = {"Basic": {"User": "admin", "Pass": "b4sic-s3cr3t"}}
SECRET = "sh4red-s3cret"


def empty(status: int, **headers: str) -> Act:
    """Says this to everything, with nothing in it."""
    return lambda _: Answer(status, b"", headers)


@pytest.fixture
def usual() -> Usual:
    """The usual target of this kind."""
    url = f"http://127.0.0.1:9090{BASE}"
    entry = {"Kind": "openfire-rest", "URL": url, "Auth": BASIC, "Domain": "example.org"}
    return Usual("fire", entry, BASE, empty(201))
