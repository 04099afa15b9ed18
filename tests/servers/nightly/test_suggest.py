"""What `check --suggest` says, in the files of real servers: what the tokens allow answers, all else is refused."""

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from types import MappingProxyType

import pytest

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Bearer, Credentials, IssuedLogin, Target, Url
from restbroker.config.tokens import Token
from restbroker.job.json_types import Json
from restbroker.servers import registry
from restbroker.servers.allowed_commands import AllowedCommands, allowed_commands
from restbroker.servers.ejabberd.check import trials
from restbroker.servers.ejabberd.options import Options
from tests.support import ejabberd as support
from tests.support.ejabberd import PASSWORD, Ejabberd

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
MAY = {"check_account", "register", "send_message", "send_stanza", "status", "connected_users_number"}
"""A message with `id` or `receipts` is sent as a stanza."""
ACCOUNT_MAY = {*MAY, "registered_vhosts"}
"""Also what shows an account of 26.07 why it was refused."""


def token(*allow: str, hosts: Sequence[str] = ()) -> Token:
    return Token("app", (Secret("x" * 24),), allow=allow, hosts=tuple(hosts))


@pytest.fixture(scope="module")
def ejabberd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(support, "CONFIG", CONFIG + "api_permissions:\n" + OWN)
        server = Ejabberd(tmp_path_factory.mktemp("ejabberd"), (HOST,)).start()
    yield server
    server.kill()


def call(server: Ejabberd, command: str, arguments: Mapping[str, Json], login: str | None) -> tuple[int, bytes]:
    headers = {"Host": HOST} if login is None else {"Host": HOST, "Authorization": login}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("POST", f"/api/{command}", json.dumps(arguments), headers)
        response = connection.getresponse()
        return response.status, response.read()


def refused(server: Ejabberd, login: str | None) -> set[str]:
    """The commands of `ALL` that this login may not call."""
    return {name for name, arguments in ALL.items() if call(server, name, arguments, login)[0] == 403}


def take(
    server: Ejabberd,
    credentials: Credentials,
    blanks: Mapping[str, str] = MappingProxyType({}),
    allowed: AllowedCommands | None = None,
) -> None:
    """Has the server take what is suggested for such a target, with these blanks filled in."""
    url = Url("http", "127.0.0.1", server.port, "/api")
    target = Target("main", "ejabberd", url, ("rest",), credentials, default_host=HOST, options=Options("23.01"))
    allowed = allowed or allowed_commands([token(*ALLOW)], registry.catalogue_of(target, None))
    text = registry.suggest(target, allowed)
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


def test_account_may_call_what_its_tokens_allow_and_nothing_else(ejabberd: Ejabberd) -> None:
    take(ejabberd, Basic(ejabberd.limited, Secret(PASSWORD)))
    assert refused(ejabberd, ejabberd.authorization("limited")) == set(ALL) - ACCOUNT_MAY
    # Nor may another account, or nobody, anything.
    assert refused(ejabberd, ejabberd.authorization("admin")) == set(ALL)
    assert refused(ejabberd, None) == set(ALL)


def issued(server: Ejabberd, own: str | None) -> str:
    wanted: dict[str, Json] = {"jid": server.limited, "ttl": 60, "scopes": ["ejabberd:admin"]}
    if own is None:
        return f"Bearer {json.loads(server.call('oauth_issue_token', **wanted)[1])['token']}"
    return f"Bearer {json.loads(call(server, 'oauth_issue_token', wanted, own)[1])['token']}"


def test_machine_and_tokens_get_the_suggested_rights(
    ejabberd: Ejabberd,
) -> None:
    """Where there is no fallback, only the account's tokens get them."""
    take(ejabberd, None)
    assert refused(ejabberd, None) == set(ALL) - MAY
    own = ejabberd.authorization("limited")
    for fallback in (True, False):
        take(ejabberd, IssuedLogin(Basic(ejabberd.limited, Secret(PASSWORD)), fallback))
        assert refused(ejabberd, issued(ejabberd, own)) == set(ALL) - ACCOUNT_MAY
        assert refused(ejabberd, own) == (set(ALL) - ACCOUNT_MAY if fallback else set(ALL))
    # A token of one's own, once its account is filled in.
    take(ejabberd, Bearer(Secret("t")), {"THE TOKEN'S ACCOUNT": ejabberd.limited})
    assert refused(ejabberd, issued(ejabberd, None)) == set(ALL) - ACCOUNT_MAY


def test_tokens_may_all_that_patterns_allow(ejabberd: Ejabberd) -> None:
    login = IssuedLogin(Basic(ejabberd.limited, Secret(PASSWORD)), fallback=True)
    take(ejabberd, login, allowed=AllowedCommands(("*", "!stop", "!start")))
    own = ejabberd.authorization("limited")
    assert refused(ejabberd, issued(ejabberd, own)) == refused(ejabberd, own) == {"stop"}
