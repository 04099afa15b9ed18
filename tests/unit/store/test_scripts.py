"""The scripts of Redis: by which name it knows each."""

import hashlib

import pytest

from restbroker.store import scripts


@pytest.mark.parametrize("name", scripts.names())
def test_redis_knows_a_script_by_the_digest_of_its_source(name: str) -> None:
    found = scripts.script(name)
    assert found.sha == hashlib.sha1(found.source, usedforsecurity=False).hexdigest()
