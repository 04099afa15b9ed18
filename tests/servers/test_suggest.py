"""What `check --suggest` says, in the files of real servers: what the tokens allow answers, all else is refused."""

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Bearer, Credentials, Issued, Target, Url
from restbroker.config.tokens import Token
from restbroker.job.json_types import Json
from restbroker.rosters.refresh import request
from restbroker.servers import registry
from restbroker.servers.allowed import allowed
from restbroker.servers.ejabberd.check.rights import trials
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.prosody.settings import Place, Settings
from tests.support import ejabberd as support
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.ports import free_port
from tests.support.prosody import Prosody
from tests.support.rows import rows

HOST = "example.org"
# The fixture makes its accounts from another loopback address.
CONFIG = """\
hosts: {hosts}
loglevel: warning
auth_method: internal
oauth_access: all
registration_timeout: infinity
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_http
    request_handlers:
      /api: mod_http_api
modules:
  mod_admin_extra: {{}}
  mod_http_api: {{}}
"""
OWN = """\
  "for the test":
    who:
      ip: "127.0.0.2/32"
    what: "*"
"""
ALLOW = ("check_*", "register", "send_message", "no_such_command")
ALL: Mapping[str, Mapping[str, Json]] = {
    **trials(HOST),
    "status": {},
    "registered_vhosts": {},
    "registered_users": {"host": HOST},
    "stats": {"name": "uptimeseconds"},
    "set_loglevel": {"loglevel": "warning"},
    "stop": {},
}
"""Commands with arguments that are right and have no effect (those that would have one are forbidden)."""
MAY = {"check_account", "register", "send_message", "status", "connected_users_number"}
ACCOUNT_MAY = {*MAY, "registered_vhosts"}
"""Also what tells an account of 26.07 why it was refused."""


def token(*allow: str, hosts: Sequence[str] = ()) -> Token:
    return Token("app", (Secret("x" * 24),), allow, tuple(hosts))


@pytest.fixture(scope="module")
def ejabberd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(support, "CONFIG", CONFIG + "api_permissions:\n" + OWN)
        server = Ejabberd(tmp_path_factory.mktemp("ejabberd"), (HOST,)).start()
    yield server
    server.kill()


def asked(server: Ejabberd, command: str, arguments: Mapping[str, Json], login: str | None) -> tuple[int, bytes]:
    headers = {"Host": HOST} if login is None else {"Host": HOST, "Authorization": login}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("POST", f"/api/{command}", json.dumps(arguments), headers)
        response = connection.getresponse()
        return response.status, response.read()


def refused(server: Ejabberd, login: str | None) -> set[str]:
    """The commands of `ALL` that this login may not call."""
    return {name for name, arguments in ALL.items() if asked(server, name, arguments, login)[0] == 403}


def take(server: Ejabberd, credentials: Credentials, blanks: Mapping[str, str] = MappingProxyType({})) -> None:
    """Has the server take what is suggested for such a target, with these blanks filled in."""
    url = Url("http", "127.0.0.1", server.port, "/api")
    target = Target("main", "ejabberd", url, ("rest",), credentials, default_host=HOST, options=Options("23.01"))
    text = registry.suggest(target, allowed([token(*ALLOW)], registry.catalogue_of(target, None)))
    assert text is not None
    assert PASSWORD not in text
    for blank, word in blanks.items():
        assert blank in text
        text = text.replace(blank, word)
    # Of a key that stands there twice ejabberd takes neither.
    config = CONFIG.replace("oauth_access: all\n", "") if "\noauth_access:" in text else CONFIG
    filled = config.format(hosts=json.dumps(server.hosts), port=server.port)
    (server.directory / "ejabberd.yml").write_text(f"{filled}{text}\n{OWN}", encoding="utf-8")
    assert server.call("reload_config") == (200, "0")


def test_an_account_may_call_what_the_tokens_allow_and_nothing_else(ejabberd: Ejabberd) -> None:
    take(ejabberd, Basic(ejabberd.limited, Secret(PASSWORD)))
    assert refused(ejabberd, ejabberd.authorization("limited")) == set(ALL) - ACCOUNT_MAY
    # Nor may another account, or nobody, anything.
    assert refused(ejabberd, ejabberd.authorization("admin")) == set(ALL)
    assert refused(ejabberd, None) == set(ALL)


def test_so_may_this_machine_by_its_address(ejabberd: Ejabberd) -> None:
    take(ejabberd, None)
    assert refused(ejabberd, None) == set(ALL) - MAY


@rows("fallback", [True, False])
def test_so_may_the_tokens_of_an_account_and_without_fallback_they_alone(ejabberd: Ejabberd, *, fallback: bool) -> None:
    take(ejabberd, Issued(Basic(ejabberd.limited, Secret(PASSWORD)), fallback))
    own = ejabberd.authorization("limited")
    wanted: dict[str, Json] = {"jid": ejabberd.limited, "ttl": 60, "scopes": "ejabberd:admin"}
    status, body = asked(ejabberd, "oauth_issue_token", wanted, own)
    assert status == 200, body
    assert refused(ejabberd, f"Bearer {json.loads(body)['token']}") == set(ALL) - ACCOUNT_MAY
    assert refused(ejabberd, own) == set(ALL) - ACCOUNT_MAY if fallback else set(ALL)


def test_so_may_a_token_of_ones_own_once_its_account_is_filled_in(ejabberd: Ejabberd) -> None:
    take(ejabberd, Bearer(Secret("t")), {"THE TOKEN'S ACCOUNT": ejabberd.limited})
    wanted = {"jid": ejabberd.limited, "ttl": 60, "scopes": "ejabberd:admin"}
    issued = json.loads(ejabberd.call("oauth_issue_token", **wanted)[1])
    assert refused(ejabberd, f"Bearer {issued['token']}") == set(ALL) - ACCOUNT_MAY


@attrs.frozen
class Looks:
    """What answers at the paths of Prosody's modules: 404 where the module is not loaded."""

    rest: int
    admin: int
    msg: int


@rows(
    ("allow", "looks"),
    [
        (("message",), Looks(422, 404, 404)),
        (("users", "msg"), Looks(422, 401, 401)),
    ],
)
def test_prosody_loads_the_modules_whose_commands_the_tokens_allow(
    tmp_path: Path, allow: tuple[str, ...], looks: Looks
) -> None:
    port = free_port()
    login = Basic("john", Secret(PASSWORD))
    places = {
        "rest": Place("/rest", login),
        "admin": Place("/admin_api", Bearer(Secret("t"))),
        "msg": Place("/msg", login),
    }
    url = Url("http", "127.0.0.1", port, "/rest")
    settings = Settings(places)  # type: ignore[arg-type]  # the literals are lost in a variable
    target = Target("prosody", "prosody-rest", url, ("p",), login, HOST, HOST, options=settings)
    text = registry.suggest(target, allowed([token(*allow)], registry.catalogue_of(target, None)))
    assert text is not None
    server = Prosody(tmp_path / "prosody", HOST, port, included=text)
    try:
        server.start().register("john")
        john = {"Host": HOST, "Authorization": server.authorization("john")}
        host = {"Host": HOST}
        statuses = Looks(
            server.call("POST", "/rest", "{}", {**john, "Content-Type": "application/json"})[0],
            server.call("GET", "/admin_api/users", headers=host)[0],
            server.call("POST", "/msg/john@example.org", "hi", host)[0],
        )
    finally:
        server.kill()
    assert statuses == looks


def test_prosody_takes_its_rosters_from_restbroker_as_suggested(tmp_path: Path) -> None:
    port = free_port()
    url = Url("http", "127.0.0.1", port, "/roster_admin")
    target = Target("rosters", "prosody-roster", url, ("r",), host_header=HOST, default_host=HOST)
    text = registry.suggest(target, allowed([token("*")], registry.catalogue_of(target, None)))
    assert text is not None
    server = Prosody(tmp_path / "prosody", HOST, port, included=text)
    try:
        server.start()
        question = request.question(target)
        assert server.call(question.method, question.path, headers={"Host": HOST})[0] != 404
        assert server.call("POST", "/rest", "{}", {"Host": HOST})[0] == 404
    finally:
        server.kill()
