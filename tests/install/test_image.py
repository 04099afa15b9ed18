"""The Dockerfile, as far as it can be read: `make image` does its steps, in a tree without Docker."""

import re
import tomllib
from pathlib import Path
from typing import Final

from restbroker.cli.app import COMMANDS
from restbroker.config.load import load
from restbroker.events import registry as sources
from restbroker.servers import registry
from tools.pages import ROOT

IMAGE: Final = ROOT / "contrib" / "image"
TEXT: Final = (IMAGE / "Dockerfile").read_text("utf-8")
STEPS: Final = re.findall(r"^([A-Z]+) (.*)$", TEXT, re.MULTILINE)
FINAL: Final = dict(re.findall(r"^([A-Z]+) (.*)$", TEXT.rpartition("\nFROM ")[2], re.MULTILINE))


def test_all_that_it_does_is_in_the_script_that_is_tried_without_docker() -> None:
    script = "sh /tmp/install.sh "
    done = [words.removesuffix(" && rm /tmp/install.sh") for step, words in STEPS if step == "RUN"]
    assert done == [f"{script}tools", f"{script}build /src", f"{script}run"]
    tried = (IMAGE / "try.sh").read_text("utf-8")
    assert [words for words in done if words not in tried] == []


def test_what_it_starts_and_asks_for_its_health_are_commands(tmp_path: Path) -> None:
    assert FINAL["ENTRYPOINT"] == '["restbroker"]'
    assert FINAL["CMD"] == '["run"]'
    assert 'CMD ["restbroker", "health"]' in FINAL["HEALTHCHECK"]
    assert {"run", "health"} <= set(COMMANDS)
    # The address that is asked is one that the image itself sets, so that there is one.
    environ = dict(one.split("=", 1) for one in FINAL["ENV"].split() if one.startswith("RESTBROKER_"))
    file = tmp_path / "env.json"
    file.write_text('{"RestQueue": "rest", "Token": "a-token"}')
    assert load(file, environ, {}, registry.kinds(), sources.kinds()).config.health_bind == ("127.0.0.1", 8090)


def test_what_it_copies_is_all_that_the_wheel_is_built_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        *wheel["packages"],
        *wheel.get("shared-data", ()),
        "pyproject.toml",
        project["project"]["readme"],
        "LICENSE",
    }
    taken = set(re.findall(r"^!(\S+)$", (IMAGE / "Dockerfile.dockerignore").read_text("utf-8"), re.MULTILINE))
    assert needed - taken == set()
    (listed,) = re.findall(r"^git ls-files .* -- (.*?) \\$", (IMAGE / "try.sh").read_text("utf-8"), re.MULTILINE)
    assert needed - set(listed.split()) == set()
    copied = {words.split()[0] for step, words in STEPS if step == "COPY" and not words.startswith("--from")}
    assert copied == {".", "contrib/image/install.sh"}
    assert "contrib/image/install.sh" in taken
