"""For each kind of server: a target, a command of each class, and the bodies that its connector distinguishes.

`fates` crosses them. A class that a server has in two forms (creates: an account, a room) appears twice. What
real servers were recorded to say in a failure comes from tests/recorded.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from restbroker.job.json_types import Json
from tests.support.player import files, recorded

_JSON: Final = {"content-type": "application/json"}
_HTML: Final = {"content-type": "text/html; charset=utf-8"}


@attrs.frozen
class Body:
    """What a server answers behind the status. `name` stands in the table."""

    name: str
    data: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    is_cut: bool = False


@attrs.frozen
class Case:
    """A command of a class. `once`: as one that the target's AtMostOnce names. `through`: a text in the path of what the
    connector sends by its own transport, where that is what the command does.
    """

    label: str
    command: str
    arguments: Mapping[str, Json]
    once: bool = False
    through: str = ""


@attrs.frozen
class Kind:
    """One kind of server. `members` are the target's in env.json; `well`: status and body with which it answers what the
    connector asks by itself, by a text in the path or body of the question.
    """

    name: str
    members: Mapping[str, Json]
    commands: Sequence[Case]
    bodies: Sequence[Body]
    well: Mapping[str, tuple[int, bytes]]
    works: bool = False
    """Whether its connector's background work delivers."""
    remembers: bool = True
    """Whether what it makes of an answer may depend on those before it."""


def _json(name: str, value: Json) -> Body:
    return Body(name, json.dumps(value, separators=(",", ":")).encode(), _JSON)


def _of_all() -> Iterator[Body]:
    """What any server, or a proxy before it, may answer."""
    yield Body("nothing")
    yield Body("nothing, with Retry-After: 7", headers={"retry-after": "7"})
    yield Body("nothing, with Location", headers={"location": "https://u:p@elsewhere.example/x?token=1"})
    yield Body("text", b"Service unavailable")
    yield Body("page", b"<html><head><title>Bad Gateway</title></head><body><h1>nginx</h1></body></html>", _HTML)
    yield _json("{}", {})
    yield _json('{"error": text}', {"error": "no"})
    yield _json("[]", [])
    yield Body("JSON that was cut off", b'{"a":[1,2', _JSON, is_cut=True)


def _recorded(server: str, *, about: str = "") -> Iterator[Body]:
    """Each body with which a real server was recorded to refuse something; each text once. `about`: in these files."""
    found: dict[str, Body] = {}
    names = [name for name in files(f"{server}/*") if about in name and not name.endswith("/cut")]
    for exchange in recorded(*names):
        text = exchange.answer
        if text and not exchange.assumed and (exchange.status >= 300 or '"type":"error"' in text):
            headers = {name.lower(): value for name, value in exchange.answer_headers.items()}
            found.setdefault(text, Body(f"recorded: {text}", text.encode(), headers or _JSON))
    yield from found.values()


def _ejabberd() -> Kind:
    user: dict[str, Json] = {"user": "ann", "host": "example.org"}
    says = (
        *("unknown_command", "400 Bad Request", "internal_error", "Invalid 'service'", "Unknown virtual host"),
        *("Missing argument: host", "Arg <<51,48>> is not in format integer", "Malformed username"),
        *("already exists", "Room doesn't exist", "unknown_user", "error_no_vcard_found", "Missing command name"),
        *("Database failure", "timeout", "anything else"),
    )
    texts = [_json(json.dumps(text), text) for text in says]
    errors = [
        _json(f"code {code}: {text}", {"status": "error", "code": code, "message": text})
        for code, text in (
            *(
                (32, "AccessRules: Account does not have the right to perform the operation."),
                (40, "No command"),
                (44, ""),
            ),
            *((10090, "User ann@example.org already registered"), (10001, "Unknown virtual host")),
            *((10001, "Database failure"), (10001, "nobody knows"), (4, "Invalid token"), (-1, "x")),
        )
    ]
    results = [_json(str(value), value) for value in (0, 1)] + [_json('{"res": 1}', {"res": 1})]
    room: dict[str, Json] = {"room": "lounge", "service": "conference.example.org"}
    return Kind(
        "ejabberd",
        {"URL": "http://127.0.0.1:5281/api", "Options": {"ServerVersion": "24.12"}},
        (
            Case("repeatable", "set_nickname", {**user, "nickname": "A"}),
            Case("not repeatable", "kick_user", user),
            Case("at most once", "kick_user", user, once=True),
            Case("question", "check_account", user),
            Case("creates", "register", {**user, "password": "s3cret-word"}),
            Case("creates a room", "create_room", {**room, "host": "example.org"}),
            Case("removes", "unregister", user),
            Case("removes a room", "destroy_room", room),
            Case("bans", "ban_account", {**user, "reason": "r"}),
            Case("answers with a number", "restart_module", {"host": "example.org", "module": "mod_x"}),
            Case("unknown", "our_own_command", {"a": 1}),
        ),
        (*_of_all(), *texts, *errors, *results, *_recorded("ejabberd")),
        {"connected_users_number": (200, b"3"), "registered_vhosts": (200, b'["example.org"]')},
        remembers=False,
    )


def _mongooseim() -> Kind:
    codes = (
        *("exists", "duplicate", "already_exists", "domain_not_found", "unknown_domain", "muc_server_not_found"),
        *("user_does_not_exist", "user_not_exist", "unknown_user", "no_session", "cannot_register", "not_allowed"),
        *("no_sender", "invalid_sender", "input_coercion", "missing_non_null_param", "excess_args", "unknown_enum"),
        *("unknown_host_type", "unknown_field", "category_disabled", "no_permissions", "deps_not_loaded"),
        *("temporarily_unavailable", "cannot_reach_job_owner_node", "internal_server_error", "server_error"),
        *("internal", "rpc_error", "mnesia_error", "resolver_crash", "parser_error", "scanner_error"),
        *("unsupported_operation", "operation_not_found", "no_query_supplied", "contact_not_found", "not_found"),
        *("room_not_found", "key_not_exist", "user_does_not_exist_error", "could_not_create_room", "no_recipient"),
        *("type_mismatch", "input_coerce_abort", "excess_fields_in_object", "invalid_json_body"),
        *("nobody_knows_it", ""),
    )
    refused = [_json(f"code {code}" if code else "an error without a code", _graphql(code)) for code in codes]
    more = (
        _json("code cannot_register, null_password", _graphql("cannot_register", "null_password")),
        _json(
            "code could_not_create_room, unserved domain",
            _graphql("could_not_create_room", "Could not create room due to incorrect domain"),
        ),
        _json("code no_permissions, of the login", _graphql("no_permissions", path=["ROOT"])),
        _json("data alone", {"data": {"account": {"x": "ok"}}}),
        _json("data: null", {"data": None}),
        _json("data, and code exists", {**_graphql("exists"), "data": _PART}),
        _json("data, and code resolver_crash", {**_graphql("resolver_crash"), "data": _PART}),
        _json("data, and code internal", {**_graphql("internal"), "data": _PART}),
        _json("the answer no", {"data": {"account": {"checkUser": {"exist": False, "message": ""}}}}),
    )
    user: Json = "ann@example.org"
    register: dict[str, Json] = {"domain": "example.org", "username": "ann", "password": "s3cret-word"}
    return Kind(
        "mongooseim",
        {
            "URL": "http://127.0.0.1:5551/api/graphql",
            "Domain": "example.org",
            "Auth": {"Basic": {"User": "admin", "Pass": "pass-of-admin"}},
            "Options": {"ServerVersion": "6.8"},
        },
        (
            Case("repeatable", "account.changeUserPassword", {"user": user, "newPassword": "s3cret-word"}),
            Case("not repeatable", "stanza.sendMessage", {"from": user, "to": "bob@example.org", "body": "hi"}),
            Case("at most once", "stanza.sendMessage", {"from": user, "to": user, "body": "hi"}, once=True),
            Case("question", "account.checkUser", {"user": user}),
            Case("creates", "account.registerUser", register),
            Case("creates a domain", "domain.addDomain", {"domain": "example.net", "hostType": "localhost"}),
            Case("removes", "account.removeUser", {"user": user}),
            Case("removes a contact", "roster.deleteContact", {"user": user, "contact": "bob@example.org"}),
            Case("a list", "roster.addContacts", {"user": user, "contacts": _CONTACTS}),
            Case("a document", "graphql", {"query": 'mutation{account{banUser(user:"a@b"){message}}}'}),
        ),
        (*_of_all(), *refused, *more),
        {
            "checkUser(": (200, b'{"data":{"account":{"checkUser":{"exist":true}}}}'),
            "checkAuth": (
                200,
                b'{"data":{"checkAuth":{"authStatus":"AUTHORIZED","authType":"ADMIN"},"account":{"countUsers":3},"server":{"status":{"statusCode":"RUNNING","version":"6.8.0"}}}}',
            ),
        },
        remembers=False,
    )


_CONTACTS: Final[Json] = [{"jid": "bob@example.org", "name": "Bob", "groups": ["friends"]}]
# What each of the operations above answers where it was done.
_PART: Final[Json] = {
    "account": {"registerUser": {"jid": "ann@example.org"}, "removeUser": {"jid": "a"}, "changeUserPassword": {}},
    "stanza": {"sendMessage": {"id": "1"}},
    "domain": {"addDomain": {"domain": "example.net"}},
    "roster": {"deleteContact": "done", "addContacts": ["done", None]},
}


def _graphql(code: str, message: str = "words", path: Sequence[str] = ("account", "x")) -> dict[str, Json]:
    error: dict[str, Json] = {"message": message, "path": list(path)}
    if code:
        error["extensions"] = {"code": code}
    return {"errors": [error], "data": None}


def _java(name: str, message: str = "words", resource: str = "ann") -> Json:
    return {"exception": name, "message": message, "resource": resource, "resourceType": "x"}


def _openfire_rest() -> Kind:
    exceptions = (
        *("UserAlreadyExistsException", "GroupAlreadyExistsException", "AlreadyExistsException", "NotAllowedException"),
        *("UserNotFoundException", "RoomNotFoundException", "IllegalArgumentException", "NotFoundException"),
    )
    xml = b"<?xml version='1.0'?><error><exception>%s</exception><message>m</message><resource>r</resource></error>"
    return Kind(
        "openfire-rest",
        {
            "URL": "http://127.0.0.1:9090/plugins/restapi/v1",
            "Auth": {"Basic": {"User": "admin", "Pass": "pass-of-admin"}},
            "Domain": "example.org",
        },
        (
            Case("repeatable", "lock_user", {"username": "ann"}),
            Case("not repeatable", "broadcast_message", {"body": "hi"}),
            Case("at most once", "broadcast_message", {"body": "hi"}, once=True),
            Case("question", "get_user", {"username": "ann"}),
            Case("question of health", "liveness", {}),
            Case("creates", "create_user", {"username": "ann", "password": "s3cret-word"}),
            Case("removes", "delete_user", {"username": "ann"}),
            Case("renames", "update_user", {"username": "ann", "newUsername": "anna"}),
            Case("sets what is newer", "set_vcard", {"username": "ann", "vcard": "<vCard xmlns='vcard-temp'/>"}),
        ),
        (
            *_of_all(),
            *(_json(name, _java(name)) for name in exceptions),
            *(
                Body(f"XML of {name}", xml % name.encode(), {"content-type": "application/xml"})
                for name in ("UserAlreadyExistsException", "UserNotFoundException")
            ),
        ),
        {},
        remembers=False,
    )


def _openfire_chat() -> Kind:
    says = (
        *("XMPPError: service-unavailable - cancel", "XMPPError: not-authorized - auth", "Workgroup is offline"),
        *("Workgroup is not configured", "Timeout error", "Exception"),
    )
    room: dict[str, Json] = {"from": "ann", "roomName": "lounge"}
    user: dict[str, Json] = {"username": "ann"}
    return Kind(
        "openfire-chat",
        {
            "URL": "http://127.0.0.1:7070",
            "Auth": {"Basic": {"User": "admin", "Pass": "pass-of-admin"}},
            "Domain": "example.org",
        },
        (
            Case("repeatable", "lock_user", user),
            Case("repeatable, as a user", "set_presence", {"from": "ann"}),
            Case("not repeatable", "broadcast_message", {"body": "hi"}),
            Case("not repeatable, as a user", "post_message", {"from": "ann", "to": "bob@example.org", "body": "hi"}),
            Case("at most once", "post_message", {"from": "ann", "to": "bob@example.org", "body": "hi"}, once=True),
            Case("in a room", "post_to_room", {**room, "body": "hi"}),
            Case("joins a room", "join_room", room),
            Case("leaves a room", "leave_room", room),
            Case("question", "get_user", user),
            Case("question, as a user", "list_contacts", {"from": "ann"}),
            Case(
                "question to a workgroup",
                "ask",
                {"userID": "guest", "workgroup": "help", "question": "q", "emailAddress": "a@b"},
            ),
            Case("creates", "create_user", {**user, "password": "s3cret-word"}),
            Case("removes", "delete_user", user),
            Case("ends", "chat_logoff", {"from": "ann"}),
            Case("begins", "chat_login", {"from": "ann"}, through="/login"),
        ),
        (
            *_of_all(),
            *(
                _json(f"exception, {text}", {"exception": "X", "message": "Exception", "ressource": text})
                for text in says
            ),
            _json("RoomNotFoundException", _java("RoomNotFoundException")),
            _json("UserAlreadyExistsException", _java("UserAlreadyExistsException")),
            *_recorded("openfire-chat"),
        ),
        {
            "/admin/restbroker": (404, b""),
            "/sse/": (404, b""),
            "/sessions": (200, b'{"sessions":[]}'),
            "/rooms/": (200, b'{"roomName":"lounge"}'),
            "/login": (200, b"ofchat2"),
            "/join": (200, b""),
            "/logoff": (200, b""),
        },
    )


def _prosody_rest() -> Kind:
    conditions = (
        *("bad-request", "conflict", "feature-not-implemented", "forbidden", "gone", "internal-server-error"),
        *("item-not-found", "jid-malformed", "not-acceptable", "not-allowed", "not-authorized", "policy-violation"),
        *("recipient-unavailable", "redirect", "registration-required", "remote-server-not-found"),
        *("remote-server-timeout", "resource-constraint", "service-unavailable", "subscription-required"),
        *("unexpected-request", "undefined-condition"),
    )
    errors = [
        _json(f"the error {condition}", {"kind": "iq", "type": "error", "error": {"condition": condition}})
        for condition in conditions
    ]
    kinds = [
        _json(
            f"the error {condition} of type {kind}",
            {"kind": "message", "type": "error", "error": {"condition": condition, "type": kind, "text": "words"}},
        )
        for condition, kind in (
            *(("not-allowed", "wait"), ("remote-server-timeout", "cancel"), ("policy-violation", "continue")),
            ("item-not-found", "nonsense"),
        )
    ]
    page = '<html><title>%s</title><style>p.extra{}</style><p class="extra">%s</p></html>'
    pages = [
        Body(f"page: {words}", (page % ("Error", words)).encode(), _HTML)
        for words in ("Missing credentials", "IQ query timed out", "evicted from iq tracking cache", "Not found")
    ]
    host = "http://127.0.0.1:5280"
    note: Json = {"kind": "iq", "type": "result", "command": {"note": {"type": "error", "text": "no"}}}
    return Kind(
        "prosody-rest",
        {
            "URL": f"{host}/rest",
            "Domain": "example.org",
            "Auth": {"Basic": {"User": "broker", "Pass": "pass-of-broker"}},
            "Options": {"AdminToken": "t0ken-of-admin", "AdminURL": f"{host}/admin_api", "MsgURL": f"{host}/msg"},
        },
        (
            Case("repeatable", "update_user", {"username": "ann", "display_name": "A"}),
            Case("not repeatable", "message", {"to": "ann@example.org", "body": "hi"}),
            Case("at most once", "message", {"to": "ann@example.org", "body": "hi"}, once=True),
            Case("not repeatable, an iq", "iq", {"to": "example.org", "type": "set", "command": {"node": "x"}}),
            Case("question", "ping", {"to": "example.org"}),
            Case("question of the admin API", "users", {}),
            Case("creates", "invite", {}),
            Case("removes", "delete_user", {"username": "ann"}),
            Case("of mod_post_msg", "msg", {"to": "ann@example.org", "body": "hi"}),
        ),
        (
            *_of_all(),
            *errors,
            *kinds,
            *pages,
            _json("a stanza", {"kind": "iq", "type": "result", "to": "a@b"}),
            _json("a note of type error", note),
            *_recorded("prosody", about="ad-hoc"),
        ),
        {},
        remembers=False,
    )


def _http() -> Kind:
    path: dict[str, Json] = {"Path": "/things/{id}"}
    commands: dict[str, Json] = {
        "read": {"Method": "GET", **path},
        "put": {"Method": "PUT", **path},
        "post": {"Method": "POST", **path},
        "post_again": {"Method": "POST", **path, "Idempotent": True},
        "delete": {"Method": "DELETE", **path, "Success": ["2xx", 404, 410]},
        "own_lists": {"Method": "POST", **path, "Success": [200, 409], "Retry": [404, "5xx"]},
    }
    login: Json = {"Bearer": {"Token": "t0ken-of-ours"}}
    thing: dict[str, Json] = {"id": "7"}
    return Kind(
        "http",
        {
            "URL": "https://api.example.org/v1",
            "Auth": login,
            "Options": {"Commands": commands, "Probe": {"Path": "/probe"}},
        },
        (
            Case("repeatable", "put", thing),
            Case("repeatable by its key", "post_again", thing),
            Case("not repeatable", "post", thing),
            Case("at most once", "post", thing, once=True),
            Case("question", "read", thing),
            Case("creates, with lists of its own", "own_lists", thing),
            Case("removes", "delete", thing),
        ),
        (*_of_all(), _json("a problem", {"title": "T", "detail": "d"})),
        {"/probe": (200, b"")},
    )


def _prosody_roster() -> Kind:
    return Kind(
        "prosody-roster",
        {"URL": "http://127.0.0.1:5280/roster_admin", "Domain": "example.org"},
        (
            Case("refreshes", "refresh", {"users": ["ann"]}, through="/refresh"),
            Case("refreshes, at most once", "refresh", {"users": ["ann"]}, once=True, through="/refresh"),
        ),
        (
            *_of_all(),
            _json("done", {"updated": 1, "errors": 0, "status": "ok"}),
            _json("an error", {"updated": 0, "errors": 1, "status": "ok"}),
            _json("status error", {"status": "error", "message": "m"}),
        ),
        {},
        works=True,
    )


KINDS: Final[Mapping[str, Kind]] = {
    "ejabberd": _ejabberd(),
    "mongooseim": _mongooseim(),
    "openfire-rest": _openfire_rest(),
    "openfire-chat": _openfire_chat(),
    "prosody-rest": _prosody_rest(),
    "prosody-roster": _prosody_roster(),
    "http": _http(),
}
"""By the name of the file that their table is in."""
