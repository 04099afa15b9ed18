"""A reader of a server's set-up page: a terminal beside a broker with its env.json, and what must be printed."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.docs.nightly.surroundings import Workplace, workplace
from tests.docs.nightly.transcripts import JID, Names, Step, alike, recipes

LOOKS_S: Final = 10.0
# Each stanza has another id, and each of ofchat's streams another resource.
_ID: Final = re.compile(r'(?<="id":")[^"]+|(?<=/[a-z]{3})-?\d{6,}')


def steps(page: Path) -> list[Step]:
    """Return what the page has typed, with what it shows."""
    return [step for recipe in recipes(page) for step in recipe.steps]


def assert_prints(at: Workplace, step: Step) -> None:
    """Fail unless the step prints what the page shows, but for what no two runs have in common."""
    printed = at.type(step, Names(), LOOKS_S)
    assert _said(printed) == _said(step.printed), printed


def _said(text: str) -> object:
    # A line may break elsewhere, even between a number and its unit.
    text = _ID.sub("ID", JID.sub("JID", alike(" ".join(text.split()))))
    # A server orders the members of an answer as it likes.
    return json.loads(text) if text.startswith("{") else text


@contextmanager
def reader(
    place: Path, env: Mapping[str, Any], addresses: Mapping[str, str], secrets: Mapping[str, str]
) -> Iterator[Workplace]:
    """Have a reader with this env.json and these files beside it, and a broker.

    `addresses`: which ones of this machine are meant by those of the page.
    """
    text = json.dumps(env, ensure_ascii=False).replace("/etc/restbroker/", f"{place}/")
    text = text.replace('"Token": "…"', f'"TokenFile": "{place}/token"')
    with workplace(place, {**secrets, "env.json": text}, addresses, {}) as at:
        for name in secrets:
            (place / name).chmod(0o600)
        yield at
