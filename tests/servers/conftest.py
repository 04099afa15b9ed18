"""One ejabberd for all tests of this folder; a test that stops or kills it asks for one of its own."""

from collections.abc import Iterator

import pytest

from tests.support.ejabberd import Ejabberd


@pytest.fixture(scope="session")
def ejabberd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    server = Ejabberd(tmp_path_factory.mktemp("ejabberd")).start()
    yield server
    server.kill()


@pytest.fixture
def own_ejabberd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    server = Ejabberd(tmp_path_factory.mktemp("own-ejabberd")).start()
    yield server
    server.kill()
