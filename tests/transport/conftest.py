"""An authority for all tests of the transport."""

import pytest

from tests.transport.authority import Authority, authority


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))
