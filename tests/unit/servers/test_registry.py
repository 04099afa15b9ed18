"""What all kinds of servers share: the registry, logins that one cannot use, findings, addresses, texts."""

import subprocess
import sys
from pathlib import Path

import pytest

from restbroker.config.events import EventSource
from restbroker.config.kind import expected_kind
from restbroker.config.load import load
from restbroker.config.target import Target, Url
from restbroker.errors import ConfigError
from restbroker.events import registry as sources
from restbroker.job.json_types import Json
from restbroker.kinds import FLAT, SOURCES, TARGETS, Kind
from restbroker.servers import registry
from restbroker.servers.allowed_commands import AllowedCommands
from restbroker.servers.api.jid import is_jid
from restbroker.servers.api.request import segment
from restbroker.servers.api.table import InvalidArguments
from restbroker.servers.api.texts import parse_json
from restbroker.servers.contract import Ports
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.findings import CAUSES, Cause, Finding, ok, worst_cause
from tests.support.rows import rows

TARGET = Target("t", "ejabberd", Url("http", "127.0.0.1", 5281, "/api"), ("rest",), options=Options())


def test_catalogue_is_of_the_configured_or_the_found_version() -> None:
    pinned = Target("t", "ejabberd", TARGET.url, ("rest",), options=Options("23.01"))
    assert registry.catalogue_of(pinned, "24.12").version == "23.01"
    assert registry.catalogue_of(TARGET, "24.12").version == "24.12"
    assert registry.catalogue_of(TARGET, None).version == registry.catalogue("ejabberd").version
    latest = registry.catalogue_of(TARGET, None).commands["kick_user"].api_version
    assert registry.catalogue_of(TARGET, None, "kick_user/v1").commands["kick_user"].api_version < latest
    by_option = Target("t", "ejabberd", TARGET.url, ("rest",), options=Options(api_version=1))
    assert registry.catalogue_of(by_option, None).commands["kick_user"].api_version < latest
    assert registry.catalogue_of(by_option, None, "kick_user/v9").commands["kick_user"].api_version == latest


def test_an_unknown_kind_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ConfigError, match="These exist: ejabberd, "):
        registry.catalogue("jabberd14")


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    assert expected_kind(TARGETS, "htpp").endswith('found a string ("htpp"); did you mean "http"?')
    assert expected_kind(TARGETS, "matrix").endswith('found a string ("matrix").')


def test_a_kinds_place_in_the_table_means_nothing() -> None:
    """The flat keys mean ejabberd, whatever stands before it."""
    reverse = {kind: registry.kinds()[kind] for kind in reversed(list(TARGETS))}
    assert load(Path("env.json.sample"), {}, {}, reverse).config.targets[0].kind == FLAT


def test_each_kind_is_on_the_page_of_its_role() -> None:
    for page, kinds in (("docs/targets.md", TARGETS), ("docs/events.md", SOURCES)):
        text = Path(page).read_text("utf-8")
        assert [kind for kind in kinds if f"`{kind}`" not in text] == [], page


def test_a_kind_of_server_may_be_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the example, as a kind of ours: it needs neither its entry point nor a folder."""
    monkeypatch.syspath_prepend("examples/server-kind/chatter")
    monkeypatch.setitem(TARGETS, "chatter", Kind("chatter", "restbroker_chatter"))
    target = Target("t", "chatter", TARGET.url, ("rest",), options=registry.kinds()["chatter"]())
    assert "send_message" in registry.catalogue_of(target, None).commands
    assert registry.open_connector(target, Ports(lambda _: None, lambda: 1.0)).spec("send_message") is not None
    assert registry.ctl_dialect("chatter") is None
    assert registry.suggest(target, AllowedCommands(())) is None


def test_a_kind_of_source_may_be_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "import attrs\n@attrs.frozen\nclass Options:\n    level: int = 1\ndef open_hook(source): return source.name\n"
    )
    (tmp_path / "chirper.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SOURCES, "chirper", Kind("chirper", "chirper", "source"))
    source = EventSource("bird", "chirper", options=sources.kinds()["chirper"]())
    opened: object = sources.open_hook(source)
    assert opened == "bird"
    assert sources.suggest(source, [source]) is None


def test_servers_are_imported_on_demand_and_commands_need_none() -> None:
    """No connector is imported for them."""
    code = (
        "import sys; from restbroker.servers import registry\n"
        "print('restbroker.servers.ejabberd' in sys.modules)\n"
        "registry.kinds(); registry.catalogue('ejabberd')\n"
        "print(sorted({'trio', 'httpx', 'restbroker.servers.ejabberd.connector'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n[]\n"


def problem(cause: Cause) -> Finding:
    return Finding("problem", "redis", "Code", "message", cause=cause)


@rows("place", range(len(CAUSES)))
def test_first_cause_in_order_counts_whatever_was_found_first(place: int) -> None:
    assert worst_cause([problem(cause) for cause in reversed(CAUSES[place:])]) == CAUSES[place]


def test_finding_without_problem_has_no_cause() -> None:
    assert worst_cause([ok("redis", "Code", "m"), Finding("warning", "redis", "Code", "m", cause="store")]) is None


def test_these_are() -> None:
    good = (
        *("juliet@example.org", "Juliet@Example.ORG/balcony", "example.org", "example.org/resource with blanks"),
        *("a@localhost/b/c@d", "юлия@пример.рф", "a@[::1]", "a@127.0.0.1", "a.b+c=d!e@_xmpp.example.org."),
        *("אב@example.org", "a@example.org/📱"),
    )
    assert [text for text in good if not is_jid(text)] == []


def test_these_are_not() -> None:
    bad = (
        *("", "@", "@@", "a@", "@example.org", "a@b@c", "a b@example.org", "a@example org", "a@example..org", "a@."),
        *("a@example.org/", "a@example.org/\n", "a\x00@example.org", "a:b@example.org", "a\u00a0b@example.org"),
        *("\u00ad@example.org", "א1@example.org", "a@א.example", "a@\ufffd.org", "a" * 1024 + "@example.org"),
        *("a@" + "é" * 70 + ".org", "a@example.org/" + "é" * 512),
    )
    assert [text for text in bad if is_jid(text)] == []


def test_argument_is_one_segment_of_a_path_or_refused() -> None:
    assert [segment("name", text) for text in ("ann", "a/b", "../x", "é ?#%")] == [
        "ann",
        "a%2Fb",
        "..%2Fx",
        "%C3%A9%20%3F%23%25",
    ]
    for text in ("", ".", ".."):
        with pytest.raises(InvalidArguments, match="name"):
            segment("name", text)


def test_text_that_is_no_json_is_none() -> None:
    rows: list[tuple[bytes, Json]] = [(b"", None), (b"no", None), (b'{"a":1}', {"a": 1})]
    assert [(body, found) for body, found in rows if parse_json(body) != found] == []
