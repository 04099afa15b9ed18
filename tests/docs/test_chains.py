"""The chains that docs/recipes.md pushes in Ruby and Python are pushed whole and in order, as the page's text says.

Each runs as it stands, behind what a program has above it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from dev.tools.pages import ROOT
from restbroker.job.order import Order, key_in
from restbroker.store.client import StoreSettings, items, open_client, raw
from tests.support.ruby import environment

_SECTION: Final = re.compile(r"^## One command after the other$(.*?)^## ", re.MULTILINE | re.DOTALL)
_BLOCK: Final = re.compile(r"^```(ruby|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ABOVE: Final[Mapping[str, str]] = {
    "ruby": "require 'sidekiq'\nTOKEN = 't'\n",
    "python": "import json, os, secrets\nfrom redis import Redis\n"
    "TOKEN, redis = 't', Redis.from_url(os.environ['REDIS_URL'])\n",
}
PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "ruby": ("/usr/bin/ruby", "chain.rb"),
    "python": (sys.executable, "chain.py"),
}
"""Needs: apt-get install ruby-sidekiq."""


def examples() -> dict[str, str]:
    found = _SECTION.search((ROOT / "docs/recipes.md").read_text("utf-8"))
    assert found
    return {block[1]: block[2] for block in _BLOCK.finditer(found[1])}


@pytest.mark.promise("One key after the other", "a chain is pushed: it is queued in its order")
@pytest.mark.parametrize("language", ABOVE)
def test_chain_of_each_language_is_pushed_in_order_with_one_key(language: str, redis_url: str, tmp_path: Path) -> None:
    words = PROGRAMS[language]
    assert shutil.which(words[0]), f"{words[0]} is not installed; `make test` installs it"
    (tmp_path / words[-1]).write_text(ABOVE[language] + examples()[language])
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env={**environment(redis_url), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    client = open_client(StoreSettings(redis_url))
    jobs: list[dict[str, Any]] = [json.loads(raw(job)) for job in items(client.command("LRANGE", "queue:rest", 0, -1))]
    jobs.reverse()  # the first one is the next to be taken
    client.close()
    assert [job["args"] for job in jobs] == [
        ["register", {"user": "oscar", "password": "s3cret-7"}, "t"],
        ["check_account", {"user": "oscar"}, "t"],
    ]
    for job in jobs:
        assert key_in(Order(), None, job) == "\x1eoscar@example.org"
        assert re.fullmatch(r"[0-9a-f]{24}", job["jid"])
