"""A login, or an option, that a kind of server cannot use is refused where it stands."""

import json
from pathlib import Path
from typing import Any

import pytest

from restbroker.config.load import load
from restbroker.errors import ConfigError
from restbroker.servers import registry
from tests.support.rows import rows

AUTO = {"Auto": {"User": "u", "Pass": "p"}}
BEARER = {"Bearer": {"Token": "t0ken"}}
ISSUED = "asks for tokens that the server issues"
COMMANDS: dict[str, Any] = {"Commands": {"a": {}}}


def basic(user: str) -> dict[str, Any]:
    return {"Basic": {"User": user, "Pass": "p"}}


def entry(kind: str, login: Any, options: Any, **more: Any) -> dict[str, Any]:
    domain = {} if kind == "http" else {"Domain": "example.org"}
    return (
        {"Kind": kind, "URL": "http://127.0.0.1:1", "Queues": ["q"], "Auth": login, "Options": options} | domain | more
    )


@rows(
    ("kind", "login", "options", "problem"),
    [
        ("http", AUTO, COMMANDS, f"Auth: {ISSUED}"),
        (
            "http",
            BEARER,
            {**COMMANDS, "Headers": {"Authorization": "x"}},
            "Options.Headers.Authorization: is given beside",
        ),
        ("prosody-rest", AUTO, {}, f"Auth: {ISSUED}"),
        (
            "prosody-rest",
            BEARER,
            {"MsgURL": "http://127.0.0.1:1/msg"},
            "Options.MsgURL: needs Targets.it.Auth with Basic",
        ),
        ("openfire-rest", basic("admin"), {"Secret": "s"}, "Auth: and the shared secret exclude one another"),
        ("openfire-rest", basic("admin@example.org"), {}, "Auth: needs the administrator's name alone"),
        ("openfire-rest", BEARER, {}, "Auth: must be Basic"),
        ("openfire-rest", None, {"Secret": "two words"}, "Options.Secret"),
        ("openfire-chat", basic("admin"), {"Secret": "s"}, "Options.Secret: is given beside Targets.it.Auth"),
        ("openfire-chat", basic("admin@example.org"), {}, "Auth: needs the administrator's name alone"),
        ("openfire-chat", BEARER, {}, "Auth: must be Basic"),
        ("openfire-chat", basic("admin"), {"PasswordsFile": "odd"}, "Options.PasswordsFile: Line 2 of the file"),
        ("mongooseim", basic("root@localhost"), {"Schema": "domain_admin"}, "Auth: is not a domain admin's"),
        ("mongooseim", basic("bot"), {"Schema": "user"}, "Auth: is not a user's"),
        ("mongooseim", None, {"Schema": "domain_admin"}, "Auth: must be Basic"),
        ("mongooseim", None, {"Schema": "user"}, "Auth: must be Basic"),
        ("mongooseim", BEARER, {"Schema": "admin"}, "Auth: must be Basic"),
    ],
)
def test_what_a_kind_cannot_use_is_refused_by_its_place(
    tmp_path: Path, kind: str, login: Any, options: Any, problem: str
) -> None:
    (tmp_path / "odd").write_text("# ours\nromeo\n")
    (tmp_path / "env.json").write_text(json.dumps({"Token": "t", "Targets": {"it": entry(kind, login, options)}}))
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "env.json", {}, {}, registry.kinds())
    lines = [line.strip().removeprefix("Targets.it.") for line in refused.value.message.splitlines()]
    assert any(line.startswith(problem) for line in lines), lines


def test_a_domain_admins_domain_is_that_of_his_login(tmp_path: Path) -> None:
    written = entry("mongooseim", basic("admin@example.net"), {"Schema": "domain_admin"}, Domain=None)
    (tmp_path / "env.json").write_text(json.dumps({"Token": "t", "Targets": {"it": written}}))
    (target,) = load(tmp_path / "env.json", {}, {}, registry.kinds()).config.targets
    assert target.default_host == "example.net"
