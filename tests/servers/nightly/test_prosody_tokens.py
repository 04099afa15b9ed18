"""The page's recipes for tokens: each was run on the version that it is for, and that for 0.12 is run here."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.prosody import Prosody

ROOT = Path(__file__).parents[3]
RECIPES = re.findall(
    r"^prosodyctl shell .*create_.*$", (ROOT / "docs/servers/prosody.md").read_text("utf-8"), re.MULTILINE
)


def recorded() -> list[dict[str, Any]]:
    lines = (ROOT / "tests/recorded/prosody/token_recipes.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_one_recipe_of_the_page_printed_a_token_on_each_version_that_administers() -> None:
    for version in ("0.12.3", "13.0.1"):
        own = {one["recipe"]: one for one in recorded() if one["version"] == version}
        [good] = [own[recipe] for recipe in RECIPES if own[recipe].get("admin_api") == 200]
        assert good["printed"].startswith("Result: ")
        assert good["rest"] == 200
        assert good["command"].startswith("The following accounts could not be deleted:")  # it was allowed to try


def test_the_recipe_for_0_12_prints_a_token_that_the_admin_api_takes(make_prosody: Callable[..., Prosody]) -> None:
    prosody = make_prosody()
    prosody.register("broker")
    assert len(RECIPES) == 2
    command = RECIPES[0].replace("prosodyctl", f"prosodyctl --config {prosody.directory}/prosody.cfg.lua", 1)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    printed = done.stdout.strip().splitlines()[-1]
    assert printed.startswith("Result: "), done.stdout + done.stderr
    headers = {"Authorization": f"Bearer {printed.removeprefix('Result: ')}"}
    assert prosody.call("GET", "/admin_api/users", headers=headers)[0] == 200
