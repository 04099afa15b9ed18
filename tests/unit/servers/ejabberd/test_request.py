"""The requests that ejabberd gets."""

import json
from collections.abc import Mapping

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.target import Bearer, Credentials, Target, Url
from restbroker.errors import ConfigError
from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.servers.ejabberd import catalogue
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.ejabberd.request import build, headers_of, question, route
from restbroker.transport.message import Request

TARGET = Target("t", "ejabberd", Url("http", "127.0.0.1", 5281, "/api"), ("rest",))


def built(
    command: str, arguments: Mapping[str, Json], *, host: str | None = None, credentials: Credentials = None
) -> Request:
    """The request of this command as 24.12 knows it."""
    spec = catalogue.for_version("24.12").commands.get(command)
    call = Call(Command(command, arguments), host=host)
    return build(call, route(command, spec, TARGET), headers_of(credentials))


def test_the_configured_version_of_the_interface_counts_for_commands_that_name_none_and_not_for_questions() -> None:
    for version in (0, 2):
        pinned = attrs.evolve(TARGET, options=Options(api_version=version))
        assert route("register", None, pinned).path == f"/api/register/v{version}"
        assert route("register/v1", None, pinned).path == "/api/register/v1", version
        assert question(pinned, "status").path == "/api/status", version
    both = attrs.evolve(pinned, url=attrs.evolve(TARGET.url, path="/api/v1"))
    assert route("register", None, both).path == "/api/v1/register/v2"


def test_the_jobs_own_headers_are_passed_on() -> None:
    given = ("traceparent", "00-a-b-01")
    request = build(Call(Command("status", {}), headers=(given,)), route("status", None, TARGET), headers_of(None))
    assert request.headers == (*headers_of(None), given)


def test_a_token_that_fits_no_header_is_an_error_that_does_not_show_it() -> None:
    for token in ["", "a b", "a\r\nX: y", "é"]:
        with pytest.raises(ConfigError) as caught:
            built("status", {}, credentials=Bearer(Secret(token)))
        assert not token or token not in str(caught.value)


def test_the_host_is_added_where_no_name_of_it_is_given() -> None:
    for command, spec in catalogue.for_version(None).commands.items():
        host = spec.argument("host")
        names = {"host"} if host is None else {host.name, *host.aliases}
        takes_one = spec.fills_host or host is not None
        for given in ({}, *({name: "x"} for name in names)):
            call = Call(Command(command, given), host="example.org")
            request = build(call, route(command, spec, TARGET), headers_of(None))
            assert json.loads(request.body) == ({"host": "example.org"} if takes_one and not given else given), command
