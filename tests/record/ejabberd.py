"""An ejabberd whose answers are recorded, and the logins with which restbroker asks it."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from restbroker.job.json_types import Json
from tests.record.steps import ADDRESS, TOKEN
from tests.record.tap import Tap
from tests.support.ejabberd import FULL, Ejabberd

PASSWORD: Final = "test"
NAMES: Final = (
    *("accounts", "people", "rooms", "others", "refused", "check-elsewhere"),
    *("check-admin", "check-full", "check-limited", f"check-{ADDRESS}", "check-nobody"),
)
"""The files, in the order in which they are recorded: each finds what the steps of those before it made."""
_HOST: Final = "localhost"


def entry(login: str, origin: str) -> Mapping[str, Any]:
    """Return the target of a login: an account, `wrong` for a wrong password, `token`, `no-token`, or none of these."""
    auth: dict[str, Json] = {"Basic": {"User": f"{login}@{_HOST}", "Pass": PASSWORD}}
    match login:
        case "token" | "no-token":
            auth = {"Bearer": {"Token": TOKEN if login == "token" else "no-such-token"}}
        case "wrong":
            auth = {"Basic": {"User": f"admin@{_HOST}", "Pass": "wrong"}}
        case "address" | "nobody" | "elsewhere":
            auth = {}
    url = origin + ("/elsewhere" if login == "elsewhere" else "/api")
    return {"Kind": "ejabberd", "URL": url, "Domain": _HOST, **({"Auth": auth} if auth else {})}


@contextmanager
def started(folder: Path, root: str) -> Iterator[tuple[str, str, Tap, tuple[str, ...]]]:
    """Start one; give its version, what it is, a tap to it, and the files to record."""
    server = Ejabberd(folder, password=PASSWORD, root=root).start()
    try:
        server.call("register", user=FULL, host=_HOST, password=PASSWORD)
        found = re.search(r"ejabberd (\d+\.\d+\S*) is running", server.call("status")[1])
        assert found, "its version is not in its answer to status"
        source = f"ejabberd {found[1]} (Debian), with the configuration of tests/support/ejabberd.py"
        yield found[1][:5], source, Tap(server.port, {_token(server): TOKEN}), NAMES
    finally:
        server.kill()


def _token(server: Ejabberd) -> str:
    """Return a token of the administrator; 24.12 wants the scopes as a list."""
    for scopes in ("ejabberd:admin", ["ejabberd:admin"]):
        status, text = server.call("oauth_issue_token", jid=server.admin, ttl=3600, scopes=scopes)
        if status == 200:
            return str(json.loads(text)["token"])
    raise AssertionError(f"it issues no token: {text}")
