"""What tokens allow: all together what at least one of them lets in, and no administration by ad-hoc commands."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.tokens import Token
from restbroker.job.auth import AccessRequest, refusal
from restbroker.job.command import Command, CommandSpec
from restbroker.job.json_types import Json
from restbroker.servers.allowed_commands import allowed_commands
from restbroker.servers.api.ad_hoc import ADMIN, dangerous_in
from restbroker.servers.ejabberd.catalogue import for_version
from restbroker.servers.prosody import catalogue as prosody
from tests.support.rows import rows
from tests.unit.servers.conftest import refused

CATALOGUE = for_version("24.12")
PATTERNS = st.sampled_from(
    ("*", "register", "get_*", "*room*", "check_?ccount", "stop", "dangerous:stop", "dangerous:files", "dangerous:*"),
)


def token(allow: tuple[str, ...] = ("*",), hosts: tuple[str, ...] = (), **more: Any) -> Token:
    return Token("app", (), allow=allow, hosts=hosts, **more)


GRANTS = st.lists(
    st.builds(
        token,
        st.lists(PATTERNS, min_size=1, max_size=4).map(tuple),
        st.sampled_from(((), ("example.org",), ("*.example.org", "localhost"))),
    ),
    min_size=1,
    max_size=3,
)


def good_arguments(spec: CommandSpec) -> dict[str, Json]:
    """Arguments that say which host each is about, where they can."""
    values: dict[str | None, Json] = {
        "host": "example.org",
        "jid": "a@example.org",
        "jids": "a@example.org",
        "name": "a",
    }
    named: dict[str, Json] = {
        argument.name: values[argument.host_source] for argument in spec.arguments if argument.host_source is not None
    }
    return {**named, "host": "example.org"} if spec.fills_host else named


@given(GRANTS)
def test_command_is_allowed_only_if_some_token_admits_its_job(grants: list[Token]) -> None:
    hosts = {"*.example.org": "muc.example.org", "example.org": "example.org", "localhost": "localhost"}
    found = set(allowed_commands(grants, CATALOGUE).commands)
    for name, spec in CATALOGUE.commands.items():
        let_in = False
        for grant in grants:
            host = hosts[grant.hosts[0]] if grant.hosts else "example.org"
            text = {key: _at(value, host) for key, value in good_arguments(spec).items()}
            wish = AccessRequest(Command(name, text), spec, CATALOGUE.dangerous_in(name), None, "t", "q")
            let_in = let_in or refusal(grant, wish) is None
        # A job that names a host may be let in only where the catalogue knows how.
        assert (name in found) >= let_in, name
        if name in found and not any(argument.host_source == "name" for argument in spec.arguments):
            assert let_in, name


def _at(value: Json, host: str) -> Json:
    return value.replace("example.org", host) if isinstance(value, str) else value


def test_server_command_is_left_out_unless_a_token_names_it() -> None:
    assert "stop" not in allowed_commands([token()], CATALOGUE).commands
    assert "stop" in allowed_commands([token(), token(("dangerous:stop",))], CATALOGUE).commands
    assert allowed_commands([token(("dangerous:stop",))], CATALOGUE).commands == ("stop",)


def test_command_only_the_server_knows_is_allowed_by_full_name() -> None:
    assert allowed_commands([token(("my_command", "my_*", "dangerous:files"))], CATALOGUE).commands[0] != "files"
    assert "my_command" in allowed_commands([token(("my_command",))], CATALOGUE).commands
    assert allowed_commands([token(("my_command",), ("example.org",))], CATALOGUE).commands == ()
    assert allowed_commands([token(("my_command",))], prosody.for_version(None)).commands == ()


@rows(("grants", "hosts", "others"), [
    ([token()], (), True),
    ([token(("get_*",))], (), False),
    ([token(hosts=("b", "a")), token(hosts=("a",))], ("a", "b"), False),
    ([token(hosts=("a",)), token(("register",))], (), False),
])  # fmt: skip
def test_hosts_are_listed_where_every_token_is_bound_to_some(
    grants: list[Token], hosts: tuple[str, ...], *, others: bool
) -> None:
    found = allowed_commands(grants, CATALOGUE)
    assert (found.hosts, found.all_others) == (hosts, others)


SHUTDOWN, LOAD = f"{ADMIN}#shutdown", "http://prosody.im/protocol/modules#load"
XML = f"<command xmlns='http://jabber.org/protocol/commands' node='{SHUTDOWN}'/>"


def test_a_node_of_administration_is_found_however_it_is_written() -> None:
    stanzas: list[dict[str, Json]] = [
        {"command": {"node": SHUTDOWN}},
        {"command": SHUTDOWN},
        {"command": {"node": SHUTDOWN, "sessionid": "x", "data": {}}},
        {"xml": f"<iq><command node='{SHUTDOWN}'/></iq>"},
        {"xml": "<iq><command node='http&#58;//jabber.org/protocol/admin&#x23;shut&#100;own'/></iq>"},
    ]
    for arguments in stanzas:
        assert dangerous_in({"to": "a.org", **arguments}) == {"admin-shutdown": {"server"}}, arguments
    assert dangerous_in({"to": "a.org", "command": {"node": LOAD}}) == {"modules-load": {"code"}}
    assert dangerous_in({"to": "a.org", "command": {"node": "weather"}, "version": {}}) == {}


@rows(("name", "arguments", "allow", "dangerous"), [
    *(("iq", {"command": {"node": SHUTDOWN}}, allow, "admin-shutdown")
      for allow in (["*"], ["iq"], ["*", "dangerous:code"], ["dangerous:admin-add-user", "iq"])),
    *(("iq", {"command": {"node": SHUTDOWN}}, allow, None)
      for allow in (["*", "dangerous:*"], ["iq", "dangerous:server"], ["iq", "dangerous:admin-shutdown"])),
    ("iq", {"command": {"node": LOAD}}, ["*", "dangerous:server"], "modules-load"),
    ("iq", {"command": {"node": LOAD}}, ["*", "dangerous:code"], None),
    ("iq", {"command": {"node": "weather"}}, ["*"], None),
    *(("iq", {"xml": f"<iq type='set'>{XML}</iq>"}, allow, why)
      for allow, why in ((["*"], "admin-shutdown"), (["*", "dangerous:server"], None))),
    *(("stanza", {"xml": f"<iq type='set' to='a.org'>{XML}</iq>"}, allow, why)
      for allow, why in ((["*"], "admin-shutdown"), (["*", "dangerous:server"], None))),
])  # fmt: skip
def test_administrators_command_must_be_allowed_as_dangerous(
    name: str, arguments: dict[str, Json], allow: list[str], dangerous: str | None
) -> None:
    to: dict[str, Json] = {} if name == "stanza" else {"to": "a.org"}
    reason = refused(prosody.for_version(None), name, to | arguments, "a.org", allow=tuple(allow))
    assert (reason and reason.code) == (dangerous and "DangerousCommand")
    assert reason is None or f'"dangerous:{dangerous}"' in (reason.hint or "")
