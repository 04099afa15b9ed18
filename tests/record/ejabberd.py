"""What is recorded of an ejabberd: the steps by file. `run` starts one.

Always holds: the steps of a file build what later ones need; nothing that the server says of times is asked for.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from restbroker.job.json_types import Json
from restbroker.servers.ejabberd.check.rights import UNKNOWN_ARGUMENT, trials
from tests.record import steps
from tests.record.steps import TOKEN, Step, Steps
from tests.record.tap import Tap
from tests.support.ejabberd import FULL, Ejabberd

PASSWORD: Final = "test"
_HOST: Final = "localhost"
_ELSEWHERE: Final = "nowhere.example"
_SERVICE: Final = f"conference.{_HOST}"


def entry(login: str, origin: str) -> Mapping[str, Any]:
    """Return the target of a login: an account, `wrong` for a wrong password, `token`, `no-token`, or none of these."""
    auth: dict[str, Json] = {"Basic": {"User": f"{login}@{_HOST}", "Pass": PASSWORD}}
    match login:
        case "token" | "no-token":
            auth = {"Bearer": {"Token": TOKEN if login == "token" else "no-such-token"}}
        case "wrong":
            auth = {"Basic": {"User": f"admin@{_HOST}", "Pass": "wrong"}}
        case steps.ADDRESS | "nobody" | "elsewhere":
            auth = {}
    url = origin + ("/elsewhere" if login == "elsewhere" else "/api")
    return {"Kind": "ejabberd", "URL": url, "Domain": _HOST, **({"Auth": auth} if auth else {})}


_do: Final = partial(Step, "admin", "command")


def _account(user: str, host: str = _HOST, **more: Json) -> dict[str, Json]:
    return {"user": user, "host": host, **more}


def _room(name: str = "balcony", **more: Json) -> dict[str, Json]:
    return {"name": name, "service": _SERVICE, **more}


def _newer_room(room: str = "balcony", **more: Json) -> dict[str, Json]:
    """As of API version 3."""
    return {"room": room, "service": _SERVICE, **more}


def _contact(localuser: str, **more: Json) -> dict[str, Json]:
    contact: dict[str, Json] = {"localuser": localuser, "localhost": _HOST, "user": "romeo", "host": _HOST}
    return {**contact, "nick": "Romeo", "group": "Friends", "subs": "both", **more}


def _newer_contact(localuser: str, **more: Json) -> dict[str, Json]:
    """As of API version 1."""
    contact = _contact(localuser, groups=["Friends"], **more)
    return {name: value for name, value in contact.items() if name != "group"}


def _message(**more: Json) -> dict[str, Json]:
    people: dict[str, Json] = {"from": f"romeo@{_HOST}", "to": f"juliet@{_HOST}"}
    return {"type": "chat", **people, "subject": "", "body": "O ☂", **more}


_JULIET: Final = _account("juliet", password="O Romeo")
_STANZA: Final = "<message><body>O</body></message>"

_ACCOUNTS: Final = (
    Step("admin", "probe"),
    _do("register", _JULIET),
    _do("register", _JULIET),
    _do("register", _JULIET, maybe_run=True),
    _do("register", _JULIET, ok_if_exists=True),
    _do("register", _account("romeo", password="O Juliet")),
    _do("register", _account("juliet", _ELSEWHERE, password="x")),
    _do("register", _account("a b", password="x")),
    _do("register", _account("tybalt")),
    _do("register", _account("tybalt", password="x", zz="unknown")),
    _do("register", _account("tybalt", password={"a": 1})),
    _do("check_account", _account("juliet")),
    _do("check_account", _account("nobody")),
    _do("check_account", _account("juliet", _ELSEWHERE)),
    _do("check_password", _JULIET),
    _do("check_password", _account("juliet", password="wrong")),
    _do("change_password", _account("juliet", newpass="new")),
    _do("change_password", _account("nobody", newpass="new")),
    _do("change_password", _account("juliet", newpass="")),
    _do("registered_users", {"host": _HOST}),
    _do("registered_users", {"host": _ELSEWHERE}),
    _do("registered_vhosts"),
    _do("connected_users_number"),
    _do("stats", {"name": "registeredusers"}),
    _do("stats", {"name": "nonsense"}),
    _do("ban_account", _account("romeo", reason="a duel")),
    _do("ban_account", _account("nobody", reason="a duel")),
    _do("unregister", _account("romeo")),
    _do("unregister", _account("romeo")),
    _do("unregister", _account("romeo"), maybe_run=True),
    _do("unregister", _account("romeo", _ELSEWHERE)),
)
_PEOPLE: Final = (
    Step("admin", "probe"),
    _do("register", _account("romeo", password="O Juliet")),
    _do("add_rosteritem", _contact("juliet")),
    _do("add_rosteritem", _contact("juliet", subs="nonsense")),
    _do("add_rosteritem", _contact("nobody")),
    _do("add_rosteritem", _contact("juliet", localhost=_ELSEWHERE)),
    _do("add_rosteritem", _newer_contact("juliet"), about="24.02 and newer"),
    _do("add_rosteritem", _newer_contact("juliet", subs="nonsense")),
    _do("add_rosteritem", _newer_contact("juliet", localhost=_ELSEWHERE)),
    _do("get_roster", _account("juliet")),
    _do("get_roster", _account("nobody")),
    _do("get_roster_count", _account("juliet"), about="only newer servers have it"),
    _do("delete_rosteritem", {"localuser": "juliet", "localhost": _HOST, "user": "romeo", "host": _HOST}),
    _do("delete_rosteritem", {"localuser": "juliet", "localhost": _HOST, "user": "romeo", "host": _HOST}),
    _do("set_vcard", _account("juliet", name="NICKNAME", content="Jule")),
    _do("get_vcard", _account("juliet", name="NICKNAME")),
    _do("get_vcard", _account("juliet", name="FN")),
    _do("get_vcard", _account("nobody", name="FN")),
    _do("set_vcard2_multi", _account("juliet", name="ORG", subname="ORGUNIT", contents=["a", "b"])),
    _do("get_vcard2_multi", _account("juliet", name="ORG", subname="ORGUNIT")),
    _do("send_message", _message()),
    _do("send_message", _message(id="order-7")),
    _do("send_message", _message(type="nonsense")),
    _do("send_message", _message(**{"from": "@"})),
    _do("send_message", _message(to="")),
    _do("send_stanza", {"from": f"romeo@{_HOST}", "to": f"juliet@{_HOST}", "stanza": _STANZA}),
    _do("send_stanza", {"from": f"romeo@{_HOST}", "to": f"juliet@{_HOST}", "stanza": "<message>"}),
    _do("send_stanza_c2s", _account("juliet", resource="phone", stanza=_STANZA)),
    _do("get_offline_count", _account("juliet")),
    _do("kick_user", _account("juliet")),
    _do("kick_session", _account("juliet", resource="phone", reason="x")),
    _do("user_resources", _account("juliet")),
    _do("user_sessions_info", _account("juliet")),
    _do("get_presence", _account("juliet")),
    _do("get_presence", _account("juliet", _ELSEWHERE)),
    _do("num_resources", _account("juliet")),
    _do("private_set", _account("juliet", element="<a xmlns='b'>c</a>")),
    _do("private_set", _account("juliet", element="<a")),
    _do("private_get", _account("juliet", element="a", ns="b")),
)
_ROOMS: Final = (
    Step("admin", "probe"),
    _do("create_room", _room(host=_HOST)),
    _do("create_room", _room(host=_HOST)),
    _do("create_room", _room(host=_HOST), maybe_run=True),
    _do("create_room", _room(host=_HOST), ok_if_exists=True),
    _do("create_room", _room(service=_ELSEWHERE, host=_HOST)),
    _do("create_room", _room("a b@", host=_HOST)),
    _do("create_room_with_opts", _room("hall", host=_HOST, options=[{"name": "persistent", "value": "true"}])),
    _do("create_room_with_opts", _room("hall2", host=_HOST, options=[{"name": "nonsense", "value": "x"}])),
    _do("muc_online_rooms", {"service": "global"}),
    _do("muc_online_rooms", {"service": _ELSEWHERE}),
    _do("set_room_affiliation", _room(jid=f"juliet@{_HOST}", affiliation="owner")),
    _do("set_room_affiliation", _room(jid=f"juliet@{_HOST}", affiliation="nonsense")),
    _do("set_room_affiliation", _room("nowhere", jid=f"juliet@{_HOST}", affiliation="owner")),
    _do("set_room_affiliation", _newer_room(user="juliet", host=_HOST, affiliation="owner"), about="24.12 and newer"),
    _do("set_room_affiliation", _newer_room("nowhere", user="juliet", host=_HOST, affiliation="owner")),
    _do("get_room_affiliations", _newer_room()),
    _do("get_room_affiliations", _newer_room("nowhere")),
    _do("get_room_affiliations", _room()),
    _do("get_room_affiliations", _room("nowhere")),
    _do("get_room_affiliation", _room(jid=f"juliet@{_HOST}")),
    _do("change_room_option", _room(option="title", value="Balcony")),
    _do("change_room_option", _room(option="nonsense", value="x")),
    _do("change_room_option", _room("nowhere", option="title", value="Balcony")),
    _do("get_room_occupants_number", _room()),
    _do("get_room_occupants_number", _room("nowhere")),
    _do("send_direct_invitation", _room(password="none", reason="x", users=f"juliet@{_HOST}")),
    _do("destroy_room", _room()),
    _do("destroy_room", _room()),
    _do("destroy_room", _room(), maybe_run=True),
)
_OTHERS: Final = (
    Step("admin", "probe"),
    _do("status"),
    _do("no_such_command"),
    _do("status/v0", about="an interface version in the path"),
    _do("check_account/v0", _account("juliet")),
    _do("check_account/v99", _account("juliet")),
    _do("remove_mam_for_user", _account("juliet"), about="its module is not loaded"),
    _do("delete_old_users", {"days": "many"}),
    _do("set_loglevel", {"loglevel": "nonsense"}),
    _do("get_loglevel"),
    _do("srg_create", {"group": "g", "host": _HOST, "label": "G", "description": "", "display": ["g"]}),
    _do("srg_list", {"host": _HOST}),
    _do("srg_user_add", _account("juliet", group="g", grouphost=_HOST)),
    _do("srg_get_members", {"group": "g", "host": _HOST}),
    _do("srg_get_info", {"group": "nowhere", "host": _HOST}),
    _do("srg_delete", {"group": "g", "host": _HOST}),
)
_REFUSED: Final = (
    Step("wrong", "probe"),
    Step("wrong", "command", "check_account", _account("juliet")),
    Step("wrong", "check"),
    Step("limited", "probe"),
    Step("limited", "command", "check_account", _account("juliet")),
    Step("limited", "command", "register", _account("tybalt", password="x")),
    Step("limited", "command", "connected_users_number"),
    Step("limited", "command", "no_such_command"),
    Step("full", "probe"),
    Step("full", "command", "check_account", _account("juliet"), about="an account that administers no host"),
    Step("full", "command", "check_account", _account("juliet", _ELSEWHERE)),
    Step("nobody", "probe"),
    Step("nobody", "command", "check_account", _account("juliet")),
    Step("token", "probe"),
    Step("token", "command", "check_account", _account("juliet")),
    Step("token", "check"),
    Step("no-token", "probe"),
    Step("no-token", "command", "check_account", _account("juliet")),
    Step("elsewhere", "probe", about="a path that nothing serves"),
    Step("elsewhere", "command", "check_account", _account("juliet")),
)
_ASKED: Final = (
    *(_do(command, asked) for command, asked in trials("restbroker.invalid").items() if "host" in asked),
    Step(steps.ADDRESS, "command", "export_db_ext", UNKNOWN_ARGUMENT),
)
"""What `check` asks of a server that answers otherwise than these do, such as one that hides its hosts."""
_FILES: Final = {
    "accounts": _ACCOUNTS,
    "people": _PEOPLE,
    "rooms": _ROOMS,
    "others": _OTHERS,
    "refused": _REFUSED,
    "check-elsewhere": _ASKED,
    **{f"check-{login}": (Step(login, "check"),) for login in ("admin", "full", "limited", steps.ADDRESS, "nobody")},
}


def files() -> Mapping[str, Steps]:
    """Return the steps of each file."""
    return {name: Steps(listed, entry) for name, listed in _FILES.items()}


@contextmanager
def started(folder: Path, root: str) -> Iterator[tuple[str, str, Tap, Mapping[str, Steps]]]:
    """Start one; give its version, what it is, a tap to it, and the steps."""
    server = Ejabberd(folder, password=PASSWORD, root=root).start()
    try:
        server.call("register", user=FULL, host=_HOST, password=PASSWORD)
        found = re.search(r"ejabberd (\d+\.\d+\S*) is running", server.call("status")[1])
        assert found, "its version is not in its answer to status"
        source = f"ejabberd {found[1]} (Debian), with the configuration of tests/support/ejabberd.py"
        yield found[1][:5], source, Tap(server.port, {_token(server): TOKEN}), files()
    finally:
        server.kill()


def _token(server: Ejabberd) -> str:
    """Return a token of the administrator; 24.12 wants the scopes as a list."""
    for scopes in ("ejabberd:admin", ["ejabberd:admin"]):
        status, text = server.call("oauth_issue_token", jid=server.admin, ttl=3600, scopes=scopes)
        if status == 200:
            return str(json.loads(text)["token"])
    raise AssertionError(f"it issues no token: {text}")
