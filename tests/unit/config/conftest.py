"""How the tests of the configuration load one."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from restbroker.config.core import LoadedConfig
from restbroker.config.load import load
from restbroker.errors import ConfigError
from restbroker.events import registry as sources
from restbroker.job.json_types import Json
from restbroker.servers import registry

Write = Callable[..., LoadedConfig]
Refused = Callable[..., list[str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Loads a document, with variables, beside which files may stand."""

    def run(document: Mapping[str, Json], environ: Mapping[str, str] | None = None) -> LoadedConfig:
        path = tmp_path / "env.json"
        path.write_text(json.dumps(document))
        return load(path, environ or {}, {}, registry.kinds(), sources.kinds())

    return run


@pytest.fixture
def refused(write: Write) -> Refused:
    """The problems of a document that cannot be used, one a line."""

    def run(document: Mapping[str, Json], environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            write(document, environ)
        return [line.strip() for line in caught.value.message.splitlines()[1:]]

    return run
