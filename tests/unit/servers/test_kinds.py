"""What all kinds of servers share is in `servers/api` alone: a kind's folder composes it, and does none of it again."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

SERVERS: Final = Path(__file__).parents[3] / "restbroker" / "servers"
KINDS: Final = ("ejabberd", "http", "mongooseim", "openfire", "prosody")
MASKING: Final = "restbroker.servers.api.shown"
OPENING: Final = "restbroker.transport.client"
EXCEPTIONS: Final = {
    ("ejabberd/answer.py", MASKING): "its words stand in JSON, whose texts are masked after it was parsed",
    ("mongooseim/answer.py", MASKING): "its words are those of one error of several",
    ("openfire/chat/connector.py", "NotSent"): "a secret may be gone in the middle of several requests",
}
"""What a file does all the same, and why."""


def doings(file: Path) -> Iterator[str]:
    """What it does of what is shared: the paths that it imports for it, and `NotSent` in the place of `ConfigError`."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        match node:
            case ast.ImportFrom(module=str(module)) if module in (MASKING, OPENING):
                yield module
            case ast.ExceptHandler(
                type=ast.Name(id="ConfigError"), body=[*_, ast.Raise(exc=ast.Call(func=ast.Name(id="NotSent")))]
            ):
                yield "NotSent"
            case _:
                pass


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_masks_no_answer_opens_no_transport_and_makes_no_bad_configuration_an_unsent_job(kind: str) -> None:
    files = sorted((SERVERS / kind).rglob("*.py"))
    found = {(str(file.relative_to(SERVERS)), one) for file in files for one in doings(file)}
    assert files
    assert found == {place for place in EXCEPTIONS if place[0].startswith(f"{kind}/")}
