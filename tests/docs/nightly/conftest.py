"""The releases of Debian whose ejabberd the pages name: this machine's own, and each other one in a root of its own.

A root that cannot be made fails its tests, which are never skipped.
"""

import platform
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.booted import kept

OWN: Final = platform.freedesktop_os_release()["VERSION_CODENAME"]
RELEASES: Final = (OWN, *sorted({"bookworm", "trixie", "sid"} - {OWN}))


@pytest.fixture(scope="module", params=RELEASES)
def release(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have the tests start the servers of this release of Debian."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param != OWN:
            patch.setenv("SERVERS_ROOT", str(kept(request.param, "ejabberd", "erlang-p1-oauth2")))
        yield request.param
