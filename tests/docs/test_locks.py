"""What stands in `requirements/`: who installs from a lock gets what is meant, and nothing from elsewhere."""

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import ROOT

LOCKS: Final = sorted((ROOT / "requirements").glob("*.lock"))
PINNED: Final = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def pinned(name: str) -> dict[str, str]:
    return dict(PINNED.findall((ROOT / "requirements" / f"{name}.lock").read_text("utf-8")))


def test_each_extra_has_a_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(project["optional-dependencies"]) <= {lock.stem for lock in LOCKS}


def test_the_lock_for_rabbitmq_is_that_of_production_with_pika() -> None:
    assert {name: version for name, version in pinned("amqp").items() if name != "pika"} == pinned("run")
    assert pinned("amqp")["pika"] == pinned("dev")["pika"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_has_a_hash_for_each_package_and_names_no_registry(lock: Path) -> None:
    text = lock.read_text("utf-8")
    packages = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert packages
    assert [package for package in packages if "--hash=sha256:" not in package] == []
    assert "://" not in text
