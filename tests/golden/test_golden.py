"""What must not change is as it was written down (`python -m tests.golden --write`, if a change is meant)."""

import pytest

from restbroker.config.reference import schema
from restbroker.events import registry as sources
from restbroker.job.json_types import Json
from restbroker.servers import registry
from tests.golden.keys import BASES
from tests.golden.parts import DATA, QUICK


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.slow  # each value of each key is read
def test_it_is_as_it_was_written_down(name: str) -> None:
    assert QUICK[name]().splitlines() == (DATA / name).read_text("utf-8").splitlines()


def test_each_key_that_the_schema_has_is_tried() -> None:
    places = [f"{base.prefix}.{key.partition('-')[0]}" for base in BASES for key in base.keys.split()]
    tried = {part for place in places for part in place.split(".")}
    assert names_in(schema(registry.kinds(), sources.kinds())) <= tried


def names_in(part: Json) -> set[str]:
    """Each name of a key, wherever it is."""
    if isinstance(part, list):
        return {name for inner in part for name in names_in(inner)}
    if not isinstance(part, dict):
        return set()
    properties = part.get("properties")
    own = set(properties) if isinstance(properties, dict) else set()
    return own | {name for inner in part.values() for name in names_in(inner)}
