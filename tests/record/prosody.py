"""What is recorded of a Prosody: the steps by file. `started` starts one.

Always holds: what the modules in `tests/support/prosody_modules` answer in the place of originals is not recorded;
without the originals (PROSODY_MODULES), what Prosody answers that has none of them is all.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from restbroker.job.json_types import Json
from tests.record.steps import TOKEN, Step, Steps
from tests.record.tap import Tap
from tests.support.prosody import Prosody
from tests.support.prosody_config import HOST

PASSWORD: Final = "test"
GROUP: Final = "GROUP"
"""What stands in the place of a group's id, which is another one each time."""
_ORIGINALS: Final = ("groups_internal", "rest", "http_admin_api", "post_msg")
_HOST: Final = "example.org"
_PLAIN: Final = "plain.example.org"
_ELSEWHERE: Final = "elsewhere.example.net"
_ADMIN: Final = "http://jabber.org/protocol/admin"


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


_john: Final = partial(Step, "john", "command")
_admin: Final = partial(Step, "admin", "command")
_AARON: Final = f"aaron@{_HOST}"
_NOBODY: Final = f"nobody@{_HOST}"
_SILENT: Final = "someone@nowhere.example"


def _ad_hoc(node: str, login: str = "token", **data: Json) -> Step:
    command: Json = {"node": f"{_ADMIN}#{node}", "data": {"FORM_TYPE": _ADMIN, **data}}
    return Step(login, "command", "iq", {"to": _HOST, "type": "set", "command": command})


def _add_user(name: str) -> str:
    fields = {"FORM_TYPE": _ADMIN, "accountjid": f"{name}@{_HOST}", "password": "x", "password-verify": "x"}
    form = "".join(f"<field var='{var}'><value>{value}</value></field>" for var, value in fields.items())
    command = f"<command xmlns='http://jabber.org/protocol/commands' node='{_ADMIN}#add-user'>"
    form = f"<x xmlns='jabber:x:data' type='submit'>{form}</x>"
    return f"<iq type='set' to='{_HOST}'>{command}{form}</command></iq>"


_STANZAS: Final = (
    Step("john", "probe"),
    Step("john", "check"),
    _john("message", {"to": _AARON, "body": "hello ☂", "type": "chat"}),
    _john("message", {"to": _NOBODY, "body": "hello"}),
    _john("message", {"to": _SILENT, "body": "hello"}),
    _john("message", {"to": _AARON, "body": "hello", "from": f"admin@{_HOST}"}, about="in another's name"),
    _john("message", {"to": _AARON, "reactions": "nonsense"}, about="a member of another form"),
    _john("presence", {"to": _AARON, "show": "away", "status": "out"}),
    _john("ping", {"to": _HOST}),
    _john("ping", {"to": f"{_AARON}/phone"}),
    _john("ping", {"to": _SILENT}),
    _john("disco", {"to": _AARON}),
    _john("disco", {"to": _HOST, "node": "nonsense"}),
    _john("items", {"to": _HOST}),
    _john("version", {"to": _HOST}),
    _john("iq_get", {"to": _HOST, "lastactivity": True}),
    _john("iq", {"to": _HOST, "type": "set", "ping": True}),
    _john("iq", {"to": _HOST, "type": "get", "stats": True}),
    _john("iq", {"to": _HOST, "type": "set", "command": {"node": f"{_ADMIN}#add-user"}}, about="it may not"),
    _john("msg", {"to": _AARON, "body": "hello, too ☂"}),
    _john("msg", {"to": _NOBODY, "body": "hello"}),
)
_XML: Final = (
    _john("stanza", {"xml": f"<iq type='get' to='{_HOST}'><query xmlns='jabber:iq:version'/></iq>"}),
    _john("stanza", {"xml": f"<iq type='get' to='{_HOST}'><query xmlns='urn:example:nonsense'/></iq>"}),
    _john("stanza", {"xml": f"<iq type='get' to='{_SILENT}'><ping xmlns='urn:xmpp:ping'/></iq>"}),
    _john("iq", {"to": "john@" + _HOST, "xml": "<iq type='get'><query xmlns='jabber:iq:roster'/></iq>"}),
    _john("iq", {"to": "john@" + _HOST, "xml": "<iq type='get'><vCard xmlns='vcard-temp'/></iq>"}),
    _john(
        "message",
        {"to": _AARON, "xml": "<message type='chat'><body>hello</body><x xmlns='urn:example:own'/></message>"},
    ),
    _john("message", {"to": _NOBODY, "xml": "<message type='chat'><body>hello</body></message>"}),
    _john("presence", {"to": _AARON, "xml": "<presence><show>away</show></presence>"}),
    _john("message", {"to": _AARON, "from": f"admin@{_HOST}", "xml": "<message><body>x</body></message>"}),
    Step("token", "command", "stanza", {"xml": _add_user("u9")}),
    Step("token", "command", "stanza", {"xml": _add_user("u9")}),
)
_USERS: Final = (
    Step("admin", "probe"),
    Step("admin", "check"),
    _admin("server_info"),
    _admin("user", {"username": "aaron"}),
    _admin("user", {"username": "nobody"}),
    _admin("update_user", {"username": "aaron", "display_name": "Aaron"}),
    _admin("update_user", {"username": "nobody", "display_name": "Nobody"}),
    _admin("update_user", {"username": "aaron", "role": "nonsense"}),
    _admin("announcement", {"body": "hello", "recipients": "online"}),
    _admin("announcement", {"body": "hello", "recipients": [_AARON]}),
    _admin("invites"),
    _admin("delete_invite", {"id": "nonsense"}),
    _admin("delete_invite", {"id": "nonsense"}, maybe_run=True),
    _admin("invite_reset", {"username": "nobody"}),
    _admin("delete_user", {"username": "aaron"}),
    _admin("delete_user", {"username": "aaron"}),
    _admin("delete_user", {"username": "aaron"}, maybe_run=True),
)
_AD_HOC: Final = (
    Step("token", "probe"),
    _ad_hoc("end-user-session", "admin", accountjids=[_AARON]),
    _ad_hoc("add-user", accountjid=f"u1@{_HOST}", password="x", **{"password-verify": "x"}),
    _ad_hoc("add-user", accountjid=f"u1@{_HOST}", password="x", **{"password-verify": "x"}),
    _ad_hoc("add-user", accountjid=f"u2@{_HOST}", password="x", **{"password-verify": "y"}),
    _ad_hoc("add-user", accountjid=f"u2@{_HOST}", password="x", **{"password-verify": "x"}),
    _ad_hoc("end-user-session", accountjids=[f"u1@{_HOST}"]),
    _ad_hoc("end-user-session", accountjids=[_NOBODY]),
    _ad_hoc("end-user-session", accountjids=[f"u2@{_HOST}/one two", _NOBODY, "u2@elsewhere.example.net"]),
    *(
        _ad_hoc(node, accountjids=accounts)
        for node in ("disable-user", "reenable-user")
        for accounts in ([f"u1@{_HOST}"], [_NOBODY], [f"u2@{_HOST}", _NOBODY])
    ),
    _ad_hoc("delete-user", accountjids=[f"u1@{_HOST}"]),
    _ad_hoc("delete-user", accountjids=[f"u1@{_HOST}"]),
    _ad_hoc("delete-user", accountjids=[f"u2@{_HOST}", _NOBODY, "nobody@elsewhere.example.net"]),
    _ad_hoc("delete-user", accountjids=["@@"]),
    _ad_hoc("delete-user"),
    _ad_hoc("nonsense"),
    _admin("invite", {"username": "mary", "ttl": 3600}),
    _admin("invite_reset", {"username": "john"}),
    _admin("users"),
)
_GROUP: Final[Mapping[str, Json]] = {"group": GROUP}
_GROUPS: Final = (
    _admin("list_groups"),
    _admin("create_group", {"name": "Team"}),
    _admin("list_groups"),
    _admin("get_group", _GROUP),
    _admin("get_group", {"group": "nonsense"}),
    _admin("update_group", {**_GROUP, "name": "The team"}),
    _admin("update_group", {"group": "nonsense", "name": "The team"}),
    _admin("add_user_to_group", {**_GROUP, "username": "john"}),
    _admin("add_user_to_group", {**_GROUP, "username": "john"}),
    _admin("add_user_to_group", {**_GROUP, "username": "nobody"}),
    _admin("add_user_to_group", {"group": "nonsense", "username": "john"}),
    _admin("list_user_groups", {"username": "john"}),
    _admin("add_group_chat", {**_GROUP, "name": "Chat"}),
    _admin("add_group_chat", {"group": "nonsense", "name": "Chat"}),
    _admin("remove_group_chat", {**_GROUP, "chat": "nonsense"}),
    _admin("remove_user_from_group", {**_GROUP, "username": "john"}),
    _admin("remove_user_from_group", {**_GROUP, "username": "john"}),
    _admin("remove_user_from_group", {"group": "nonsense", "username": "john"}),
    _admin("delete_group", _GROUP),
    _admin("delete_group", _GROUP),
    _admin("delete_group", _GROUP, maybe_run=True),
    _admin("patch_user", {"username": "john", "enabled": False}),
    _admin("user", {"username": "john"}),
    _admin("patch_user", {"username": "john", "enabled": True}),
    _admin("patch_user", {"username": "nobody", "enabled": True}),
    _admin("get_invite", {"id": "nonsense"}),
    _admin("server_metrics"),
)
_token: Final = partial(Step, "token", "command")
_ACCOUNTS: Final = (
    Step("admin", "command", "register", {"user": "u3", "password": "x"}, about="a password brings no role on 13"),
    _token("register", {"user": "u4", "host": _HOST, "password": "x"}),
    _token("register", {"user": "u4", "password": "x"}),
    _token("register", {"user": "u4", "password": "x"}, ok_if_exists=True),
    _token("register", {"user": "u4", "password": "x"}, maybe_run=True),
    _token("register", {"user": "u5", "host": _ELSEWHERE, "password": "x"}, about="another server's"),
    _token("register", {"user": "u5", "host": _PLAIN, "password": "x"}, about="another host of this server"),
    _token("change_password", {"user": "u4", "newpass": "y"}),
    _token("change_password", {"user": "nobody", "newpass": "y"}),
    _token("user_stats", {"user": "u4"}),
    _token("user_stats", {"user": "nobody"}),
    _token("connected_users", {}),
    _token("connected_users", {"details": True}),
    _token("kick_user", {"user": "u4"}),
    _token("kick_user", {"user": "u4", "resource": "none"}, about="no such session"),
    _token("kick_user", {"user": "nobody"}),
    _token("disable_user", {"user": "u4"}),
    _token("disable_user", {"user": "u4"}),
    _token("disable_user", {"user": "nobody"}),
    _token("enable_user", {"user": "u4"}),
    _token("unregister", {"user": "u4"}),
    _token("unregister", {"user": "u4"}),
    _token("unregister", {"user": "u4"}, maybe_run=True),
)
_REFUSED: Final = tuple(
    step
    for login in ("wrong", "token", "no-token", "elsewhere")
    for step in (
        Step(login, "probe"),
        Step(login, "command", "message", {"to": f"john@{_HOST}", "body": "hello"}),
        Step(login, "command", "server_info"),
        Step(login, "check"),
    )
)
_BARE: Final = (
    Step("john", "probe", about="Prosody has none of the modules"),
    Step("john", "command", "message", {"to": _AARON, "body": "hello"}),
    Step("john", "command", "ping", {"to": _HOST}),
    Step("john", "command", "server_info"),
    Step("john", "command", "msg", {"to": _AARON, "body": "hello"}),
    Step("john", "check"),
)
_NO_ACCOUNT: Final = tuple(
    step
    for login in ("unknown", "stranger")
    for step in (
        Step(login, "probe"),
        Step(login, "command", "message", {"to": f"john@{_HOST}", "body": "hello"}),
        Step(login, "command", "msg", {"to": f"john@{_HOST}", "body": "hello"}),
        Step(login, "check"),
    )
)
_FILES: Final = {
    "stanzas": _STANZAS,
    "users": _USERS,
    "ad-hoc": _AD_HOC,
    "accounts": _ACCOUNTS,
    "groups": _GROUPS,
    "refused": _REFUSED,
    "no-account": _NO_ACCOUNT,
    "xml": _XML,
}


_ROOMS: Final = f'Component "groups.{_HOST}" "muc"\n'
_OF_PLAIN: Final = '    authentication = "internal_plain"\n'


@contextmanager
def started(folder: Path, root: str) -> Iterator[tuple[str, str, Tap, Mapping[str, Steps]]]:
    """Start one; give its version, what it is, a tap to it, and the steps."""
    named = os.environ.get("PROSODY_MODULES")
    originals = Path(named).resolve() if named else None
    files = {"without-modules": Steps(_BARE, entry)}
    modules: tuple[str, ...] = ()
    if originals is not None:
        modules = _ORIGINALS
        files = {name: Steps(steps, entry) for name, steps in _FILES.items()}
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
        yield version, _source(version, originals, modules), Tap(server.port, hidden), files
    finally:
        server.kill()


def _group(server: Prosody, token: str) -> str:
    headers = {"Host": _HOST, "Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    status, answer = server.call("POST", "/admin_api/groups", json.dumps({"name": "First"}), headers)
    assert status == HTTPStatus.OK, answer
    return str(json.loads(answer)["id"])


def _host(name: str, *modules: str) -> str:
    return HOST.format(host=name, modules=", ".join(map(json.dumps, modules)), roster_url="")


def _source(version: str, originals: Path | None, modules: tuple[str, ...]) -> str:
    if originals is None:
        return f"Prosody {version} (Debian), without modules of others"
    texts = {name: (originals / f"mod_{name}" / f"mod_{name}.lua").read_bytes() for name in modules}
    named = ", ".join(f"mod_{name} (SHA-256 {hashlib.sha256(text).hexdigest()[:12]})" for name, text in texts.items())
    return f"Prosody {version} (Debian), with the original {named}"
