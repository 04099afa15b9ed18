"""What README and docs say is there: files, commands; and what they show can be used as it stands."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import pytest

from dev.tools.pages import PAGES, ROOT, anchor, blocks, name_of
from restbroker.broker.tokens import Tokens
from restbroker.cli import app
from restbroker.cli.app import COMMANDS, command_line
from restbroker.cli.examples import parts
from restbroker.config.load import load
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.console.lists import ListsFirst
from restbroker.events import registry as sources
from restbroker.job import arguments
from restbroker.job.arguments import Submission
from restbroker.servers import registry
from tests.transport.authority import authority

FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|lua|rb|lock))(?:::\w+)?`")
NAMED = re.compile(r"`([\w/]+\.(?:py|lua))`(?:, `(?!\w+\.py)(?:\w+\.)?(\w+)`)?")
DOTTED = re.compile(r"`(?!attrs\.)([a-z_/]+)\.(?!py`|lua`|json`)([a-z_]+)`")
MAKE = re.compile(r"(?:`|^ {4}|\$ )make ([a-z][a-z-]*)", re.MULTILINE)
WHY = re.compile(r"(?:#|--) Why: (\S+)$", re.MULTILINE)
USE = re.compile(r"(?:^|[`$ ])restbroker ((?:[a-z]+ ?)(?:[^`|\n]*))", re.MULTILINE)
LOADED = {name: app.load(name) for name in COMMANDS}
SECRET = "0123456789abcdef0123456789abcdef"
BY_DAY: Final = ("py", "sh")
LANGUAGES: Final = {
    "py": [sys.executable, "-c"],
    "sh": ["sh", "-c"],
    "rb": ["ruby", "-e"],
    "php": ["php", "-r"],
    "js": ["node", "-e"],
    "go": ["go", "run"],
}


def test_each_file_and_make_target_named_on_a_page_exists() -> None:
    rooms = [ROOT, ROOT / "restbroker", ROOT / "restbroker" / "broker"]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in PAGES:
        text = page.read_text("utf-8")
        missing = [file for file in FILE.findall(text) if not any((room / file).exists() for room in rooms)]
        assert (name_of(page), missing, set(MAKE.findall(text)) - targets) == (name_of(page), [], set())


def test_make_lists_at_most_14_targets_and_each_is_one_word() -> None:
    listed = re.findall(r"^(\S+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert len(listed) <= 14
    assert [name for name in listed if not name.isalpha()] == []


def test_first_sentence_of_readme_is_the_same_everywhere() -> None:
    sentence = re.findall(r"\*\*(.*)\.\*\*", (ROOT / "README.md").read_text("utf-8"))[0]
    described = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["description"]
    site = re.findall(r"^site_description: (.*)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert [described, *site, command_line().help] == [sentence, sentence, f"{sentence}."]


def test_architecture_names_files_and_functions_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    found = {
        f"/{file}": file.read_text("utf-8") for end in ("py", "lua") for file in ROOT.glob(f"restbroker/**/*.{end}")
    }
    missing = []
    for path, name in {*NAMED.findall(page), *((f"{module}.py", name) for module, name in DOTTED.findall(page))}:
        texts = [text for file, text in found.items() if file.endswith(f"/{path}")]
        if not any(re.search(rf"(?:def|class) {name}\b" if name else "", text) for text in texts):
            missing.append((path, name))
    assert not missing


def test_each_reason_named_in_the_code_is_a_heading_of_design() -> None:
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "design.md").read_text("utf-8"), re.MULTILINE)
    files = [file for end in ("py", "lua") for file in (ROOT / "restbroker").rglob(f"*.{end}")]
    named = {name for file in files for name in WHY.findall(file.read_text("utf-8"))}
    assert len(named) >= 10
    assert named - {f"docs/design.md#{anchor(heading)}" for heading in headings} == set()


def test_each_json_block_parses_and_each_configuration_loads(tmp_path: Path) -> None:
    cert, key = authority(tmp_path).pair("server")
    file, loaded = tmp_path / "env.json", 0
    for value in (json.loads(text) for page in PAGES for text in blocks(page, "json")):
        assert value
        # What a file of passwords needs is on its own page.
        if isinstance(value, dict) and (
            "RestQueue" in value or (value.keys() >= {"Targets", "Events"} and "PasswordsFile" not in str(value))
        ):
            placed = _placed(value, {"CertFile": cert, "KeyFile": key}, tmp_path)
            file.write_text(json.dumps(placed), encoding="utf-8")
            found = load(file, {}, {}, registry.kinds(), sources.kinds()).config
            # No target beside those that are written: check would look for its server.
            written = [target["Queues"] for target in value.get("Targets", {}).values()] or [[value.get("RestQueue")]]
            assert [list(target.queues) for target in found.targets] == written, value
            loaded += 1
    assert loaded


def _placed(value: Any, pair: Mapping[str, Path], folder: Path) -> Any:
    """The value with files that are there, each with a secret of its own."""
    match value:
        case dict():
            files = pair if "CertFile" in value else {}
            return {
                key: str(files.get(key) or _secret(folder, item))
                if key.endswith("File")
                else _placed(item, pair, folder)
                for key, item in value.items()
            }
        case list():
            return [_placed(item, pair, folder) for item in value]
        case _:
            return value


def _secret(folder: Path, named: str) -> Path:
    file = folder / f"secret-{Path(named).name}"
    file.write_text(f"{file.name}-of-many-letters\n", encoding="utf-8")
    return file


def test_each_command_line_of_a_page_exists_with_its_options() -> None:
    uses = [use.split() for page in PAGES for use in USE.findall(page.read_text("utf-8"))]
    known = [words for words in uses if words[0] in COMMANDS]
    assert {words[0] for words in known} == set(COMMANDS)
    for words in known:
        options = {word for word in _own(words) if word.startswith("--")}
        assert options <= set(_options_of(words)), words


def _own(words: list[str]) -> list[str]:
    """Without the command of another program, which has options of its own."""
    if LOADED[words[0]].context_settings.get("allow_interspersed_args", True):
        return words
    return [words[0], *takewhile(lambda word: word.startswith("-"), words[1:])]


def _options_of(words: list[str]) -> Iterator[str]:
    """Every option of the command that these words begin with."""
    command: Any = LOADED[words[0]]
    below = parts(command)
    alone = len(words) == 1 or words[1].startswith("-")
    if isinstance(command, ListsFirst) and alone:
        command = below["list"]
    elif below and not (alone and (len(words) > 1 or command.invoke_without_command)):
        command = below[words[1]]
    yield from ("--help", *(option for parameter in command.params for option in parameter.opts))


@pytest.mark.parametrize(
    "ending", [*BY_DAY, *(pytest.param(of, marks=pytest.mark.nightly) for of in LANGUAGES if of not in BY_DAY)]
)
def test_an_example_signs_a_job_as_a_broker_wants_it(ending: str, tmp_path: Path) -> None:
    (tmp_path / "app_token").write_text(SECRET + "\n")
    tokens = Tokens([Token("app", (Secret(SECRET),), signed=True)])
    script = (ROOT / "examples" / "signing" / f"sign.{ending}").read_text("utf-8").removeprefix("<?php\n")
    if ending == "go":
        (tmp_path / "main.go").write_text(script)
        script = "main.go"
    done = subprocess.run([*LANGUAGES[ending], script], cwd=tmp_path, capture_output=True, text=True, check=True)
    job = json.loads(done.stdout)
    submission = arguments.read(job["args"])
    assert isinstance(submission, Submission)
    proof = tokens.proof(submission.token, job["jid"], submission, "rest")
    assert proof is not None
    assert proof.signature is not None
    assert proof.signature.covers_queue
    assert tokens.proof(submission.token, job["jid"], submission, "other") is None
