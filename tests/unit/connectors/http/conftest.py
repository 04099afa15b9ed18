"""A target of kind `http` from its options, and what becomes of a configuration with them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from restbroker.config.core import Loaded
from restbroker.config.load import load
from restbroker.config.target import Target
from restbroker.connectors import registry
from restbroker.errors import ConfigError

Configured = Callable[..., Loaded]
Made = Callable[..., Target]
Problems = Callable[..., list[str]]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """Loads a target of these options; `members` are beside them."""

    def run(options: Mapping[str, Any], environ: Mapping[str, str] | None = None, **members: Any) -> Loaded:
        entry = {
            "Kind": "http",
            "URL": "https://api.example.org/v1",
            "Queues": ["hooks"],
            "Options": options,
            **members,
        }
        file = tmp_path / "env.json"
        file.write_text(json.dumps({"Token": "t", "Targets": {"hook": entry}}))
        return load(file, environ or {}, {}, registry.kinds())

    return run


@pytest.fixture
def made(configured: Configured) -> Made:
    """The target alone."""
    return lambda *args, **members: configured(*args, **members).config.targets[0]


@pytest.fixture
def problems(configured: Configured) -> Problems:
    """What is wrong with it, one a line, without the place of the options."""

    def run(*args: Any, **members: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            configured(*args, **members)
        lines = caught.value.message.splitlines()[1:]
        return [line.strip().removeprefix("Targets.hook.").removeprefix("Options.") for line in lines]

    return run
