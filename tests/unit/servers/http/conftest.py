"""A target of kind `http`."""

from typing import Any

import pytest

from tests.support.receiver import Answer
from tests.unit.servers.conftest import Act, Opened, Problems, Usual


@pytest.fixture
def usual() -> Usual:
    """The usual target of this kind."""
    return Usual("hook", {"Kind": "http", "URL": "https://api.example.org/v1"}, "/v1", lambda _: Answer())


@pytest.fixture
def problems(problems: Problems) -> Problems:
    """Without the place of the options."""
    return lambda *args, **members: [line.removeprefix("Options.") for line in problems(*args, **members)]


@pytest.fixture
def opened(opened: Opened) -> Opened:
    """With options that name private addresses too, as the receiver has one."""

    def run(options: Any, act: Act = lambda _: Answer(), **members: Any) -> Any:
        return opened(act, {"AllowPrivate": True, **options}, **members)

    return run
