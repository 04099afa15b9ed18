"""`make advisories` names known holes of an SBOM's libraries, and never says "none" of what nobody answered for.

Advisories in the form of OSV's API; pip-audit, which asks for them, and the SBOM's maker are the real ones.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from dev.tools.pages import ROOT
from tests.support.ports import free_port
from tests.support.receiver import Answer, Received, Receiver

HOLE: Final[Mapping[str, Any]] = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "schema_version": "1.7.0",
    "summary": "A header splits a request",
    "aliases": ["CVE-2026-99999"],
    "affected": [
        {
            "package": {"name": "h11", "ecosystem": "PyPI", "purl": "pkg:pypi/h11"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
        }
    ],
}


def told_of_h11(request: Received) -> Answer:
    name = json.loads(request.body)["package"]["name"]
    return Answer(body=json.dumps({"vulns": [HOLE]} if name == "h11" else {}).encode())


def advisories(*words: str) -> tuple[int, str, str]:
    command = ["make", "--no-print-directory", "advisories", *([f"ARGS={' '.join(words)}"] if words else [])]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    failed = re.search(r"Error (\d+)$", done.stderr.strip())
    return int(failed[1]) if failed else done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def locked() -> str:
    """The SBOM of the locks."""
    sbom = "build/locked.cdx.json"
    subprocess.run(["make", "--no-print-directory", sbom], check=True, cwd=ROOT)
    return sbom


def test_a_known_hole_is_named_and_fails(locked: str) -> None:
    with Receiver(act=told_of_h11) as database:
        code, said, _ = advisories(locked, "--database", f"{database.url}/v1/query")
    assert code == 1
    version = re.search(r"^h11==(\S+)", (ROOT / "requirements/run.lock").read_text("utf-8"), re.MULTILINE)
    assert version is not None
    ids = "CVE-2026-99999 GHSA-aaaa-bbbb-cccc"
    assert f"h11 {version[1]}: {ids}, fixed in 99.0: A header splits a request\n1 known holes in " in said


def test_each_library_of_the_locks_is_asked_about(locked: str) -> None:
    with Receiver(act=lambda _: Answer(body=b"{}")) as database:
        code, said, _ = advisories(locked, "--database", f"{database.url}/v1/query")
    lines = re.findall(r"^(\S+)==(\S+)", (ROOT / "requirements/amqp.lock").read_text("utf-8"), re.MULTILINE)
    asked = [json.loads(one.body) for one in database.received]
    assert {(one["package"]["name"], one["version"]) for one in asked} == set(lines)
    assert (code, said) == (0, f"0 known holes in {len(lines)} libraries of locked.cdx.json.\n")


def test_a_database_that_does_not_answer_is_no_good_news(locked: str) -> None:
    code, said, told = advisories(locked, "--database", f"http://127.0.0.1:{free_port()}/v1/query")
    assert (code, said) == (2, "")
    assert "make advisories: NOT CHECKED. The advisory database was not asked to the end: " in told
    with Receiver(act=lambda _: Answer(500)) as database:
        code, said, _ = advisories(locked, "--database", f"{database.url}/v1/query")
    assert (code, said) == (2, "")


def test_what_is_no_sbom_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text('{"components": []}', encoding="utf-8")
    code, _, told = advisories(str(tmp_path / "empty.json"))
    assert code == 2
    assert "NOT CHECKED. The SBOM names no Python library." in told
