"""The examples of docs/tokens.md, run as they stand, and the list of dangerous commands in docs/servers/ejabberd.md."""

import json
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from restbroker.broker.delivery.tokens import Tokens
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.connectors.ejabberd import knowledge
from restbroker.connectors.ejabberd.catalogue import for_version
from restbroker.rules import arguments
from restbroker.rules.arguments import Submission
from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "tokens.md"
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("language", "program"),
    [
        ("python", [sys.executable, "-c"]),
        ("sh", ["sh", "-c"]),
        ("ruby", ["ruby", "-e"]),
        ("php", ["php", "-r"]),
        ("js", ["node", "-e"]),
        ("go", ["go", "run"]),
    ],
)
def test_the_job_that_an_example_makes_is_signed_as_a_broker_wants_it(
    language: str, program: list[str], tmp_path: Path
) -> None:
    (tmp_path / "app_token").write_text(SECRET + "\n")
    (example,) = blocks(PAGE, language)
    script = example.removeprefix("<?php\n")
    if language == "go":
        (tmp_path / "main.go").write_text(script)
        script = "main.go"
    done = subprocess.run([*program, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    job = json.loads(done.stdout)
    submission = arguments.read(job["args"])
    assert isinstance(submission, Submission)
    tokens = Tokens([Token("app", (Secret(SECRET),), signed=True, queue_signed=True)])
    proof = tokens.proof(submission.token, job["jid"], submission, "rest")
    assert proof is not None
    assert proof.signature is not None
    assert proof.signature.covers_queue
    assert tokens.proof(submission.token, job["jid"], submission, "other") is None


def test_the_page_lists_the_dangerous_commands_as_they_are() -> None:
    page = (ROOT / "docs" / "servers" / "ejabberd.md").read_text("utf-8")
    section = page.partition("### Dangerous commands")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)
    dangers = {danger.word: danger.names for danger in knowledge.dangers()}
    assert [word for word, _ in rows] == list(dangers)
    for word, listed in rows:
        names = re.findall(r"`([^`]+)`", listed)
        assert names
        assert [name for name in names if not dangers[word].fullmatch(name.replace("*", "x"))] == []
        tagged = [n for n, spec in for_version(None).commands.items() if f"dangerous:{word}" in spec.tags]
        assert [name for name in tagged if not any(fnmatchcase(name, pattern) for pattern in names)] == []
