"""The files that are made from the keys are what the keys say."""

import compileall
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from dev.tools import config_page
from dev.tools.pages import blocks
from restbroker.config import reference
from restbroker.config.converter import read
from restbroker.config.core import Config, all_keys
from restbroker.config.key import Key, Members
from restbroker.config.load import load
from restbroker.config.problems import Problems
from restbroker.config.target import Auth, Basic, Bearer, Target, TlsFiles
from restbroker.config.tokens import Token
from restbroker.events import registry as sources
from restbroker.servers import registry
from tests.support.process import run

INSIDE: tuple[Members, ...] = (Target, Auth, Basic, Bearer, TlsFiles, Token)
REPOSITORY = Path(__file__).parents[3]
PAGE = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")


def test_the_reference_page_is_current() -> None:
    assert config_page.renew(PAGE, registry.kinds(), sources.kinds()) == PAGE, "run `make docs`"
    blank = "\n".join(line for line in PAGE.split("\n") if not line.startswith("| `"))
    assert config_page.renew(blank, registry.kinds(), sources.kinds()) == PAGE


@pytest.mark.promise("Defects of the Go original", "its sample configuration was no JSON")
def test_the_sample_is_current_and_loads_without_a_note() -> None:
    sample = REPOSITORY / "env.json.sample"
    assert sample.read_text(encoding="utf-8") == reference.sample_text(), "run `make docs`"
    loaded = load(sample, {}, {}, registry.kinds())
    assert loaded.config.targets[0].queues == ("rest",)
    assert loaded.notes == ()


def test_the_schema_names_exactly_the_keys_and_holds_the_sample() -> None:
    schema = reference.schema(registry.kinds(), sources.kinds())
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert set(properties) == {key.name for key in all_keys().values()}
    assert {name for name in reference.sample() if not name.startswith("//")} <= set(properties)
    assert json.loads(json.dumps(schema)) == schema


def test_every_key_says_what_it_means() -> None:
    """A rule, such as that it is ignored or excludes another, tells nobody what the key is for."""
    found = [*_described(reference.schema(registry.kinds(), sources.kinds()))]
    rules = ("Ignored: ", "Also read as ", "Not together with ")
    assert len(found) > 200
    assert [name for name, text in found if not text or text.startswith(rules)] == [], "write a docstring below"


def _described(part: Any) -> Iterator[tuple[str, str]]:
    """Yield each key's name and description, wherever in the schema it is."""
    members = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for name, inner in members:
        if isinstance(inner, dict) and "description" in inner:
            yield str(name), inner["description"]
        yield from _described(inner)


@pytest.mark.slow  # all is compiled
def test_compiled_files_alone_lack_texts_and_nothing_else(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "restbroker", tmp_path / "restbroker", ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(tmp_path, quiet=1, legacy=True)
    for file in tmp_path.rglob("*.py"):
        file.unlink()
    typed = (["config", "schema"], ["config", "show", "--config", str(REPOSITORY / "env.json.sample")], ["--help"])
    ran = [run(words, environ={"PYTHONPATH": str(tmp_path)}) for words in typed]
    assert [(done.returncode, done.stderr) for done in ran] == [(0, "")] * 3
    properties = json.loads(ran[0].stdout)["properties"]
    assert (properties.keys(), properties["Token"]["description"]) == (all_keys().keys(), "")


def test_each_shown_default_is_the_real_one() -> None:
    every: tuple[Members, ...] = (Config, *INSIDE)
    for members in every:
        for field in attrs.fields(members):
            shown: Key = field.metadata.get("key", Key(""))
            if shown.default is None or shown.name in ("RedisURL", "RestURL", "RedisDatabase") or field.default is None:
                continue
            review = Problems()
            made = read(members, {shown.name: shown.default}, review)
            assert (getattr(made, field.name), review.problems) == (field.default, []), shown.name


def test_the_examples_of_targets_and_tokens_load_without_a_note(tmp_path: Path) -> None:
    secrets = tmp_path / "restbroker"
    secrets.mkdir()
    for name in ("token", "chat", "archive", "app_token", "admin_token"):
        (secrets / name).write_text(f"a-secret-of-its-own-for-{name}\n")
    shown = [json.loads(blocks(REPOSITORY / "docs" / page, "json")[0]) for page in ("targets.md", "tokens.md")]
    written = {**shown[0], **shown[1], "TokenFile": None, "Targets": shown[0]["Targets"]}
    written["Tokens"]["app"]["Targets"] = ["chat"]
    # The example's files are another machine's.
    text = json.dumps(written).replace("/etc/restbroker/", f"{secrets}/")
    file = tmp_path / "env.json"
    file.write_text(text.replace("/etc/restbroker/", f"{secrets}/"))
    loaded = load(file, {}, {}, registry.kinds())
    assert [target.queues for target in loaded.config.targets] == [("chat_high", "chat"), ("archive",)]
    assert [token.name for token in loaded.config.tokens] == ["app", "admin"]
    assert loaded.notes == ()
