"""The extracts of ejabberd.yml in docs/servers/ejabberd.md, run by a real ejabberd."""

import base64
import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.support import ejabberd as support
from tests.support.ejabberd import PASSWORD, Ejabberd

Serve = Callable[[str], AbstractContextManager[Ejabberd]]
LISTEN, BY_ACCOUNT, BY_ADDRESS, TOKENS = blocks(ROOT / "docs" / "servers" / "ejabberd.md", "yaml")
HOST = "example.org"
# The fixture makes its accounts from another loopback address; a later permission does not take from an earlier one.
REST = """\
  "for the test":
    who:
      ip: "127.0.0.2/32"
    what: "*"
hosts: {hosts}
auth_method: internal
registration_timeout: infinity
modules:
  mod_admin_extra: {{}}
  mod_http_api: {{}}
"""


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Starts an ejabberd with the page's listener and these rights."""

    @contextmanager
    def start(rights: str) -> Iterator[Ejabberd]:
        listen = LISTEN.replace("5281", "{port}")
        assert listen != LISTEN
        monkeypatch.setattr(support, "CONFIG", listen + rights + REST)
        server = Ejabberd(tmp_path / "ejabberd", (HOST,)).start()
        try:
            yield server
        finally:
            server.kill()

    return start


def basic(login: str) -> str:
    """The header of this account."""
    return "Basic " + base64.b64encode(f"{login}:{PASSWORD}".encode()).decode()


def ask(server: Ejabberd, command: str, login: str | None = None) -> int:
    """The status that a command without arguments gets, from 127.0.0.1."""
    return answer(server, command, None if login is None else basic(login))[0]


def answer(server: Ejabberd, command: str, authorization: str | None, **arguments: object) -> tuple[int, bytes]:
    """The status and body that a command gets, from 127.0.0.1."""
    headers = {"Host": HOST} if authorization is None else {"Host": HOST, "Authorization": authorization}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("POST", f"/api/{command}", json.dumps(arguments), headers)
        response = connection.getresponse()
        return response.status, response.read()


def test_the_rights_of_tokens_are_enough_to_have_and_use_one(serve: Serve) -> None:
    outside, section, rights = TOKENS.partition("api_permissions:\n")
    assert section
    wanted = {"ttl": 60, "scopes": "ejabberd:admin"}
    with serve(outside + BY_ACCOUNT + rights) as server:
        status, body = answer(server, "oauth_issue_token", basic(server.admin), jid=server.admin, **wanted)
        assert status == 200
        bearer = f"Bearer {json.loads(body)['token']}"
        assert [answer(server, command, bearer)[0] for command in ("status", "stop")] == [200, 403]
        status, body = answer(server, "oauth_issue_token", basic(server.admin), jid=server.limited, **wanted)
        assert (status, body) == (400, b'"badpass"')


def test_the_rights_by_account_let_the_account_in_and_nobody_else(serve: Serve) -> None:
    with serve(BY_ACCOUNT) as server:
        assert ask(server, "status", server.admin) == 200
        assert ask(server, "connected_users_number", server.admin) == 200
        assert ask(server, "stop", server.admin) == 403
        assert ask(server, "status", server.limited) == 403
        assert ask(server, "status", "admin") == 401
        assert ask(server, "status") == 403


def test_the_rights_by_address_need_no_login(serve: Serve) -> None:
    with serve(BY_ADDRESS) as server:
        assert ask(server, "status") == 200
        assert ask(server, "connected_users_number") == 200
        assert ask(server, "stop") == 403
