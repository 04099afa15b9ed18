"""What `check` says of tokens, and of what a target's keys name and its server does not know."""

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from restbroker.config.core import Config
from restbroker.config.load import load
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.console.load_config import load_with_notices
from restbroker.operate.check.config import check_config, check_proxy, check_tokens
from restbroker.operate.unknown_names import unknown_names
from restbroker.servers import registry
from restbroker.servers.findings import Finding

CODES = {"FairByUnknown", "OrderByUnknown", "CommandUnknown"}


def findings(tmp_path: Path, **target: Any) -> list[Finding]:
    whole = {"Kind": "ejabberd", "URL": "http://127.0.0.1:1/api", "Queues": ["rest"], **target}
    (tmp_path / "env.json").write_text(json.dumps({"Token": "a-right-long-token", "Targets": {"e": whole}}))
    return [finding for finding in check_config(load_with_notices(tmp_path / "env.json")) if finding.code in CODES]


def test_argument_of_no_command_is_reported(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, FairBy=["hots"])
    assert (found.level, found.hint) == ("warning", "Did you mean host?")
    assert found.message == (
        "FairBy of the target e names hots, which no known command of ejabberd has as an argument: it tells no jobs "
        "apart."
    )
    first, second = findings(tmp_path, FairBy=["host", "customer_id", "xyzzy"])
    assert ("customer_id" in first.message, "xyzzy" in second.message) == (True, True)
    assert second.hint == "`restbroker commands NAME` shows a command's arguments."


@pytest.mark.parametrize("fair_by", [["host"], ["user", "host"], "fair_key", None])
def test_arguments_of_commands_are_not_reported(tmp_path: Path, fair_by: Any) -> None:
    assert findings(tmp_path, **({} if fair_by is None else {"FairBy": fair_by})) == []


def test_nothing_is_reported_where_commands_take_any_argument(tmp_path: Path) -> None:
    options = {"Commands": {"add": {"Method": "POST", "Path": "/add"}}}
    assert findings(tmp_path, Kind="http", FairBy=["customer"], Options=options) == []


def test_argument_that_gives_no_job_a_key_is_reported(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, OrderBy=["usr"])
    assert (found.code, found.level, found.hint) == ("OrderByUnknown", "warning", "Did you mean user?")
    assert "no job has a key, and none is done in order" in found.message
    assert findings(tmp_path, OrderBy=["user", "host"]) == findings(tmp_path, OrderBy="order_key") == []


def test_command_of_no_server_of_the_kind_is_reported(tmp_path: Path) -> None:
    named = {"AtMostOnce": ["announce_*", "send_mesage"], "Slots": {"registr": 2}, "Expire": {"xyzzy_*": "5m"}}
    found = findings(tmp_path, **named)
    assert [(finding.code, finding.level, finding.message.split()[0]) for finding in found] == [
        ("CommandUnknown", "note", "AtMostOnce"),
        ("CommandUnknown", "note", "Slots"),
        ("CommandUnknown", "note", "Expire"),
    ]
    assert [(finding.hint or "").partition(" If ")[0] for finding in found] == [
        "Did you mean send_message?",
        "Did you mean register?",
        "`restbroker commands` lists them.",
    ]
    known = {"AtMostOnce": ["send_message", "ban_*"], "Slots": {"register/v1": 2}, "Expire": {"send_*": "5m"}}
    assert findings(tmp_path, **known) == []


@pytest.mark.parametrize(
    "kind", ["ejabberd", "prosody-rest", "prosody-roster", "mongooseim", "openfire-rest", "openfire-chat"]
)
def test_defaults_of_a_kind_are_known(tmp_path: Path, kind: str) -> None:
    assert findings(tmp_path, Kind=kind) == []


@pytest.mark.parametrize(
    ("url", "once", "names"),
    [
        ("http://127.0.0.1:1/api", None, "announce_*"),
        ("http://127.0.0.1:1/api", ["send_message", "kick_*"], "send_message, kick_*"),
        ("http://127.0.0.1:1/api", [], None),
        ("https://127.0.0.1:1/api", None, None),
    ],
)
def test_proxy_that_may_kill_at_most_once_jobs_is_noted(
    tmp_path: Path, url: str, once: list[str] | None, names: str | None
) -> None:
    changes = {"Proxy": "http://127.0.0.1:3128", **({} if once is None else {"AtMostOnce": once})}
    whole = {"Kind": "ejabberd", "URL": url, "Queues": ["rest"], **changes}
    (tmp_path / "env.json").write_text(json.dumps({"Token": "a-right-long-token", "Targets": {"e": whole}}))
    (target,) = load_with_notices(tmp_path / "env.json").config.targets
    found = [(finding.code, finding.level, finding.message) for finding in check_proxy(target)]
    message = f"AtMostOnce ({names}) meets a Proxy without TLS behind it."
    assert found == ([] if names is None else [("ProxyAnswers", "note", message)])
    assert not [*check_proxy(attrs.evolve(target, proxy=None))]


def config(secret: str = "t0ken-0123456789") -> Config:
    environ = {"RESTBROKER_RESTQUEUE": "q", "RESTBROKER_TOKEN": secret, "RESTBROKER_RESTURL": "http://127.0.0.1:1"}
    return load(None, environ, {}, registry.kinds()).config


def test_a_token_that_may_do_dangerous_things_is_named_with_what() -> None:
    assert list(check_tokens(config())) == []
    admin = Token("admin", (Secret("hush-0123456789ab"),), allow=("*", "dangerous:backup"))
    (found,) = check_tokens(attrs.evolve(config(), tokens=(*config().tokens, admin)))
    assert (found.level, found.code) == ("note", "DangerousAllowed")
    assert '"admin"' in found.message
    assert "dangerous:backup" in found.message
    assert "hush" not in str(found)


@pytest.mark.parametrize(
    ("secret", "message"),
    [("a-long-random-text", "README's example"), ("fifteen-letters", "16 characters"), ("sixteen-letters-", None)],
)
def test_a_token_that_everyone_knows_or_can_guess_is_warned_of(secret: str, message: str | None) -> None:
    found = list(check_tokens(config(secret)))
    assert [(seen.level, seen.code) for seen in found] == ([] if message is None else [("warning", "WeakToken")])
    assert message is None or message in found[0].message
    assert secret not in str(found)


def test_a_token_that_no_queue_can_be_used_with_is_named() -> None:
    token = Token("app", (Secret("hush-0123456789ab"),), targets=("ejabberd",), queues=("q*",))
    assert list(unknown_names(attrs.evolve(config(), tokens=(token,)))) == []
    (found,) = unknown_names(attrs.evolve(config(), tokens=(attrs.evolve(token, queues=("r",)),)))
    assert found.code == "TokenFitsNowhere"
    assert '"app"' in found.message
