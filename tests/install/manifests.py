"""What contrib/ has for Compose and Kubernetes, as Python values. For the tests of this folder."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from dev.tools.pages import ROOT
from restbroker.config.core import Config
from restbroker.config.load import load
from restbroker.events import registry as sources
from restbroker.servers import registry

COMPOSE: Final = ROOT / "contrib" / "compose"
KUBERNETES: Final = ROOT / "contrib" / "kubernetes"
Value = dict[str, Any]


def composed() -> Value:
    """The Compose file."""
    found: Value = yaml.safe_load((COMPOSE / "compose.yaml").read_text("utf-8"))
    return found


def objects(file: str) -> list[Value]:
    """The objects of a file for Kubernetes."""
    return list(yaml.safe_load_all((KUBERNETES / file).read_text("utf-8")))


def one(file: str, kind: str, name: str) -> Value:
    """The object of this kind and name."""
    (found,) = [each for each in objects(file) if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def texts(value: object) -> Iterator[str]:
    """Every text in a value, keys included."""
    match value:
        case dict():
            for key, item in value.items():
                yield from (*texts(key), *texts(item))
        case list():
            for item in value:
                yield from texts(item)
        case str():
            yield value


def loaded(place: Path, text: str, environ: Mapping[str, str], mounted: str, secrets: Mapping[str, str]) -> Config:
    """The configuration of a container whose folder `mounted` holds these secrets; `place` stands for it."""
    for name, secret in secrets.items():
        (place / name).write_text(secret)
    here = {key: value.replace(mounted, str(place)) for key, value in environ.items()}
    file = place / "env.json"
    file.write_text(json.dumps(json.loads(text.replace(mounted, str(place)))))
    return load(file, here, {}, registry.kinds(), sources.kinds()).config
