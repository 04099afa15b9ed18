"""A file of `examples/` for the ports, the folder and the Redis of a test, and secrets made as its README says."""

import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support.process import run


def with_secrets(folder: Path, names: Iterable[str]) -> Mapping[str, str]:
    """Write a secret into a file of each name; return them."""
    made = {name: secrets.token_hex(16) for name in names}
    for name, secret in made.items():
        (folder / name).write_text(secret)
    return made


def assert_well(env: Path) -> set[str]:
    """Fail unless this env.json is loaded without a note, and a check beside a running broker finds nothing wrong.

    Return the codes of what it warns of.
    """
    shown = run(["config", "show", "--config", str(env)])
    assert (shown.returncode, shown.stderr) == (0, "")
    checked = run(["check", "--config", str(env), "--json"], timeout_s=180.0)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return {finding["code"] for finding in json.loads(checked.stdout)["findings"] if finding["level"] == "warning"}


def moved(file: Path, folder: Path, redis_url: str, ports: Mapping[str, int]) -> str:
    """Return the file's text with this folder, Redis, and for each port named in it another one."""
    text = file.read_text("utf-8").replace("/etc/restbroker/", f"{folder}/")
    text = text.replace("redis://127.0.0.1:6379/0", redis_url)
    for name, port in ports.items():
        assert f":{name}" in text
        text = text.replace(f":{name}", f":{port}")
    return text
