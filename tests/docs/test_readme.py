"""What README and the page for producers have one type, run as it stands there: what is pushed is taken."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from dev.tools.pages import ROOT, blocks
from restbroker.job import arguments
from restbroker.job.arguments import Submission
from restbroker.store.client import Reply, StoreSettings, open_client
from tests.support.process import clean_environment

README = ROOT / "README.md"
PRODUCERS = ROOT / "docs" / "producers.md"
BEFORE: Mapping[str, list[str]] = {
    "ruby": ["ruby", "-W0", "-e", "require 'sidekiq'; TOKEN = 'TOKEN'\n"],
    "sh": ["sh", "-c", ""],
}
"""What runs the examples of a language, and what they take for granted."""


@pytest.fixture
def place(tmp_path: Path, redis_url: str) -> Path:
    """A directory with the configuration that README shows, for the servers of the test, and `restbroker` in `bin`."""
    (shown,) = (block for block in map(json.loads, blocks(README, "json")) if "RestQueue" in block)
    (tmp_path / "env.json").write_text(json.dumps({**shown, "RedisURL": redis_url, "Token": "TOKEN"}))
    (tmp_path / "bin").mkdir()
    tool(tmp_path, "restbroker", f'exec {sys.executable} -m restbroker "$@"')
    tool(tmp_path, "redis-cli", f'exec /usr/bin/redis-cli -u {redis_url} "$@"')
    return tmp_path


def tool(place: Path, name: str, line: str) -> None:
    file = place / "bin" / name
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


def environment(place: Path) -> dict[str, str]:
    url = json.loads((place / "env.json").read_text())["RedisURL"]
    return clean_environment({"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "REDIS_URL": url})


def test_ci_calls_what_readme_says_proves_it() -> None:
    said, how = README.read_text("utf-8"), (ROOT / "Makefile").read_text("utf-8").partition("\ntest:")[2]
    assert re.findall(r"(?m)^    make (\w+) ", said)[:2] == ["demo", "test"]
    assert re.findall(r"(?m)^make (test) ", (ROOT / ".ci" / "run").read_text("utf-8")) == ["test"]
    assert all("eight minutes" in text and "1 GB" in text for text in (said, how))


def test_each_example_pushes_a_job_that_a_broker_takes(place: Path, redis_url: str) -> None:
    (place / "bobs-password").write_text("s3cret\n")
    client, raw = open_client(StoreSettings(redis_url)), list[Reply]()
    pages = ((README, ("ruby", "sh")), (PRODUCERS, tuple(BEFORE)))
    for page, language in ((page, language) for page, languages in pages for language in languages):
        *program, before = BEFORE[language]
        text = before + "\n".join(blocks(page, language))
        subprocess.run(
            [*program, text], cwd=place, env=environment(place), input="Hi", text=True, timeout=60, check=True
        )
        pushed = client.command("LRANGE", "queue:rest", 0, -1)
        assert isinstance(pushed, list)
        assert len(pushed) > len(raw), (page, language)
        raw = pushed
    for job in raw:
        assert isinstance(job, bytes)
        submission = arguments.read(json.loads(job)["args"])
        assert isinstance(submission, Submission)
        assert submission.command.endpoint in ("register", "connected_users_number")
