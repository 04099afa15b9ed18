"""What is suggested for a server's own configuration, for each kind. What real servers make of it: `tests/servers`."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from restbroker.config.load import load
from restbroker.kinds import TARGETS
from restbroker.servers import registry
from restbroker.servers.allowed_commands import allowed_commands

SECRET = "hush-hush-hush-hush-hush"
ADMIN = {"Basic": {"User": "admin", "Pass": SECRET}}
LOGIN = {"Basic": {"User": "broker@example.org", "Pass": SECRET}}
ENTRIES: dict[str, dict[str, Any]] = {
    "ejabberd": {"URL": "http://127.0.0.1:5281/api", "Auth": LOGIN},
    "http": {"URL": "http://127.0.0.1:8000", "Options": {"Commands": {"x": {"Method": "POST", "Path": "/x"}}}},
    "mongooseim": {"URL": "http://localhost:5551/api/graphql", "Auth": LOGIN},
    "openfire-chat": {"URL": "http://127.0.0.1:7070", "Options": {"Secret": SECRET}},
    "openfire-rest": {"URL": "http://127.0.0.1:9090", "Options": {"Secret": SECRET}},
    "prosody-rest": {
        "URL": "http://127.0.0.1:5280/rest",
        "Auth": LOGIN,
        "Options": {"AdminURL": "http://127.0.0.1:5280/admin_api", "AdminToken": SECRET},
    },
    "prosody-roster": {"URL": "http://127.0.0.1:5280/roster_admin"},
}
SILENT = {"http"}
"""Kinds that suggest nothing."""
Suggest = Callable[..., str | None]


@pytest.fixture
def suggest(tmp_path: Path) -> Suggest:
    """What is suggested for a target of this kind and these tokens."""

    def made(kind: str, *allow: str, hosts: tuple[str, ...] = (), **changes: Any) -> str | None:
        entry = {"Kind": kind, "Domain": "example.org", "Queues": ["q"], **ENTRIES[kind], **changes}
        token = {"Secret": SECRET, "Allow": list(allow or ("*",)), "Hosts": list(hosts)}
        file = tmp_path / "env.json"
        file.write_text(json.dumps({"Tokens": {"app": token}, "Targets": {"main": entry}}))
        config = load(file, {}, {}, registry.kinds()).config
        target = config.targets[0]
        return registry.suggest(target, allowed_commands(config.tokens, registry.catalogue_of(target, None)))

    return made


def test_each_kind_says_something_or_nothing_and_never_a_secret(suggest: Suggest) -> None:
    for kind in TARGETS:
        text = suggest(kind, hosts=("example.org",))
        assert kind in ENTRIES
        assert (text is None) == (kind in SILENT)
        assert SECRET not in (text or ""), kind
        assert "main" in (text or "main"), kind


def test_ejabberds_lines_for_a_star_name_all_harmless_commands(suggest: Suggest) -> None:
    """They name no dangerous one."""
    what = set(yaml.safe_load(suggest("ejabberd") or "")["api_permissions"]["restbroker main"]["what"])
    catalogue = registry.catalogue("ejabberd")
    assert what == {name for name in catalogue.commands if not catalogue.dangerous_in(name)}
    assert "must be added by hand" in (suggest("ejabberd") or "")


def test_mongooseims_lines_are_toml_with_command_categories(suggest: Suggest) -> None:
    text = suggest("mongooseim", "muc.*", hosts=("example.org",))
    listener = tomllib.loads(text or "")["listen"]["http"][0]
    assert (listener["ip_address"], listener["port"]) == ("127.0.0.1", 5551)
    [handler] = listener["handlers"]["mongoose_graphql_handler"]
    assert handler.pop("password") == "THE TARGET'S PASSWORD"
    assert handler == {
        "host": "localhost",
        "path": "/api/graphql",
        "schema_endpoint": "admin",
        "username": "broker@example.org",
        "allowed_categories": ["account", "checkAuth", "muc", "server"],
    }
    assert "#   muc: " in (text or "")
    assert "only restbroker keeps jobs to example.org" in (text or "")


def test_documents_of_a_jobs_own_leave_no_category_out(suggest: Suggest) -> None:
    text = suggest("mongooseim", "dangerous:graphql", URL="https://xmpp.example.org:5551/api/graphql")
    listener = tomllib.loads(text or "")["listen"]["http"][0]
    assert "allowed_categories" not in listener["handlers"]["mongoose_graphql_handler"][0]
    assert "tls" in listener


def test_a_domain_admins_listener_has_no_login_of_its_own(suggest: Suggest) -> None:
    login = {"Basic": {"User": "admin@example.org", "Pass": SECRET}}
    text = suggest("mongooseim", "account.*", Auth=login, Options={"Schema": "domain_admin"})
    [handler] = tomllib.loads(text or "")["listen"]["http"][0]["handlers"]["mongoose_graphql_handler"]
    assert handler["schema_endpoint"] == "domain_admin"
    assert handler["allowed_categories"] == ["account", "checkAuth"]
    assert "username" not in handler


def test_openfires_rest_plugin_is_to_take_the_configured_login(suggest: Suggest) -> None:
    rows: list[tuple[dict[str, Any], str]] = [({}, "secret"), ({"Auth": ADMIN, "Options": {}}, "basic")]
    for changes, way in rows:
        lines = (suggest("openfire-rest", **changes) or "").splitlines()
        assert f"plugin.restapi.httpAuth = {way}" in lines, (changes, way)
        assert ("plugin.restapi.secret = THE TARGET'S SECRET" in lines) == (way == "secret"), (changes, way)
        assert "plugin.restapi.allowedIPs = 127.0.0.1" in lines, (changes, way)


def test_prosody_loads_only_modules_with_an_allowed_command(suggest: Suggest) -> None:
    assert '"http_admin_api"' not in (suggest("prosody-rest", "message") or "")
    assert '"http_admin_api"; -- add_group_chat,' in (suggest("prosody-rest") or "")
    assert '"admin_adhoc"; -- unregister' in (suggest("prosody-rest", "unregister") or "")
    assert '"rest"; -- restbroker asks it' in (suggest("prosody-rest", "users") or "")
