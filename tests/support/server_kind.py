"""The package that docs/write-a-server-kind.md explains: its files, installed, and the server behind it.

Always holds: what is installed is in a folder of the test, never in the environment.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from dev.tools.pages import ROOT
from tests.support.process import clean_environment
from tests.support.receiver import Answer, Received

PAGE: Final = ROOT / "docs" / "write-a-server-kind.md"
CHATTER: Final = ROOT / "examples" / "server-kind" / "chatter"
TOKEN: Final = "chatter-token"


def written(folder: Path) -> Path:
    """Copy the package's files into a folder, which may be there."""
    return shutil.copytree(CHATTER, folder, dirs_exist_ok=True)


def installed(package: Path, into: Path) -> Path:
    """Install the package of a folder, without anything that is not there already."""
    alone = ("--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target", str(into))
    subprocess.run([sys.executable, "-m", "pip", "install", *alone, str(package)], check=True, env=clean_environment())
    return into


def beside(*folders: Path) -> dict[str, str]:
    """Return the variables with which restbroker finds what is installed in these folders."""
    return {"PYTHONPATH": os.pathsep.join([clean_environment()["PYTHONPATH"], *map(str, folders)])}


def document(url: str, redis_url: str = "redis://127.0.0.1:1/0", **members: Any) -> dict[str, Any]:
    """Return the package's configuration, for another address and with secrets in it."""
    whole = json.loads((CHATTER / "env.json").read_text("utf-8"))
    whole["Targets"]["chat"] |= {"URL": url, "Auth": {"Bearer": {"Token": TOKEN}}, **members}
    return {"RedisURL": redis_url, "Token": "right-token", "Targets": whole["Targets"]}


def answer(received: Received) -> Answer:
    """Answer as the page says that Chatter does."""
    if received.headers.get("authorization") != f"Bearer {TOKEN}":
        return _answer(401, error={"code": "login", "message": "Who are you?"})
    match received.method, received.target.split("/")[1:]:
        case "GET", ["v1", "version"]:
            return _answer(200, version="2.1")
        case "POST", ["v1", "users"] if b'"taken"' in received.body:
            return _answer(409, error={"code": "exists", "message": "There is one."})
        case "POST", ["v1", "users" | "messages"]:
            return _answer(201)
        case _:
            return _answer(404, error={"code": "no_user", "message": "There is none."})


def _answer(status: int, **members: Any) -> Answer:
    return Answer(status, json.dumps(members).encode(), {"Content-Type": "application/json"})
