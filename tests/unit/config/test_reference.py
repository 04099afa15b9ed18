"""The files that are made from the keys are what the keys say."""

import json
from pathlib import Path

import attrs

from restbroker.config import reference
from restbroker.config.core import all_keys
from restbroker.config.load import load

REPOSITORY = Path(__file__).parents[3]


@attrs.frozen
class Options:
    server_version: str


def test_the_reference_page_is_current() -> None:
    written = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == reference.markdown(), "run `python -m restbroker.config.reference`"


def test_the_sample_is_current_and_loads_without_a_note() -> None:
    sample = REPOSITORY / "env.json.sample"
    assert sample.read_text(encoding="utf-8") == reference.sample_text(), "run `python -m restbroker.config.reference`"
    loaded = load(sample, {}, {}, {"ejabberd": Options})
    assert loaded.config.targets[0].queues == ("rest",)
    assert loaded.notes == ()


def test_the_schema_names_exactly_the_keys_and_holds_the_sample() -> None:
    schema = reference.schema()
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert set(properties) == {key.name for key in all_keys().values()}
    assert {name for name in reference.sample() if not name.startswith("//")} <= set(properties)
    assert json.loads(json.dumps(schema)) == schema


def test_every_key_has_a_meaning_that_ends_like_a_sentence() -> None:
    assert [key.name for key in all_keys().values() if not key.meaning.endswith(".")] == []


def test_the_shown_default_of_every_key_is_what_its_reader_makes_the_real_default_of() -> None:
    for field in attrs.fields(reference_keys()):
        key = field.metadata["key"]
        if key.default is not None and key.name not in ("RedisURL", "RestURL", "RedisDatabase"):
            assert key.kind.read(key.default) == field.default, key.name


def reference_keys() -> type[attrs.AttrsInstance]:
    from restbroker.config.core import Keys

    return Keys
