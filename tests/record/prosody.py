"""A Prosody whose answers are recorded, and the logins with which restbroker asks it.

Always holds: what the modules in `tests/support/prosody_modules` answer in the place of originals is not recorded;
without the originals (PROSODY_MODULES), what Prosody answers that has none of them is all.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from restbroker.job.json_types import Json
from tests.record.steps import TOKEN
from tests.record.tap import Tap
from tests.support.prosody import HOST, Prosody

PASSWORD: Final = "test"
GROUP: Final = "GROUP"
"""What stands in the place of a group's id, which is another one each time."""
NAMES: Final = ("stanzas", "users", "ad-hoc", "accounts", "groups", "refused", "no-account", "xml")
"""The files, in the order in which they are recorded: each finds what the steps of those before it made."""
_ORIGINALS: Final = ("groups_internal", "rest", "http_admin_api", "post_msg")
_HOST: Final = "example.org"
_PLAIN: Final = "plain.example.org"
_ELSEWHERE: Final = "elsewhere.example.net"


def entry(login: str, origin: str) -> Mapping[str, Any]:
    """Return the target of a login: an account, `wrong` for a wrong password, `stranger` of a host elsewhere,
    `unknown` on a host that stores plain passwords, `token`, `no-token`, or `elsewhere`.
    """
    host, auth = _HOST, dict[str, Json]({"Basic": {"User": login, "Pass": PASSWORD}})
    options: dict[str, Json] = {"AdminURL": f"{origin}/admin_api", "MsgURL": f"{origin}/msg", "AdminToken": TOKEN}
    match login:
        case "token" | "no-token":
            token = TOKEN if login == "token" else "no-such-token"
            auth, options = {"Bearer": {"Token": token}}, {"AdminURL": f"{origin}/admin_api"}
        case "wrong":
            auth = {"Basic": {"User": "john", "Pass": "wrong"}}
        case "stranger":
            auth = {"Basic": {"User": f"john@{_ELSEWHERE}", "Pass": PASSWORD}}
        case "unknown":
            host = _PLAIN
    path = "/elsewhere" if login == "elsewhere" else "/rest"
    return {"Kind": "prosody-rest", "URL": origin + path, "Domain": host, "Auth": auth, "Options": options}


_ROOMS: Final = f'Component "groups.{_HOST}" "muc"\n'
_OF_PLAIN: Final = '    authentication = "internal_plain"\n'


@contextmanager
def started(folder: Path, root: str) -> Iterator[tuple[str, str, Tap, tuple[str, ...]]]:
    """Start one; give its version, what it is, a tap to it, and the files to record."""
    named = os.environ.get("PROSODY_MODULES")
    originals = Path(named).resolve() if named else None
    modules, names = (_ORIGINALS, NAMES) if originals else ((), ("without-modules",))
    version = Path(root or "/", "usr/lib/prosody/prosody.version").read_text("utf-8").strip()
    hosts = _host(_HOST, *modules)
    if modules:
        hosts += _host(_PLAIN, "rest", "post_msg") + _OF_PLAIN + _ROOMS
    server = Prosody(
        folder, host=_HOST, originals=originals, included=hosts, root=root, authentication="internal_hashed"
    ).start()
    try:
        server.register("john", "admin", "aaron", password=PASSWORD)
        server.appear(["john"])
        token = server.token("admin", "prosody:scope:admin")
        hidden = {token: TOKEN} | ({_group(server, token): GROUP} if modules else {})
        yield version, _source(version, originals, modules), Tap(server.port, hidden), names
    finally:
        server.kill()


def _group(server: Prosody, token: str) -> str:
    headers = {"Host": _HOST, "Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    status, answer = server.call("POST", "/admin_api/groups", json.dumps({"name": "First"}), headers)
    assert status == HTTPStatus.OK, answer
    return str(json.loads(answer)["id"])


def _host(name: str, *modules: str) -> str:
    return HOST.format(host=name, modules=", ".join(map(json.dumps, modules)), roster_url="")


def _source(version: str, originals: Path | None, modules: Sequence[str]) -> str:
    if originals is None:
        return f"Prosody {version} (Debian), without modules of others"
    texts = {name: (originals / f"mod_{name}" / f"mod_{name}.lua").read_bytes() for name in modules}
    named = ", ".join(f"mod_{name} (SHA-256 {hashlib.sha256(text).hexdigest()[:12]})" for name, text in texts.items())
    return f"Prosody {version} (Debian), with the original {named}"
