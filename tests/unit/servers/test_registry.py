"""Kinds of servers, and what a new one takes: a folder and a line."""

import subprocess
import sys

import pytest

from restbroker.config.target import Target, Url
from restbroker.errors import ConfigError
from restbroker.servers import registry
from restbroker.servers.ejabberd.options import Options

TARGET = Target("t", "ejabberd", Url("http", "127.0.0.1", 5281, "/api"), ("rest",), options=Options())


def test_a_targets_catalogue_is_of_its_configured_version_else_of_the_one_found() -> None:
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


def test_no_server_is_imported_before_it_is_asked_for_and_its_commands_come_without_its_connector() -> None:
    code = (
        "import sys; from restbroker.servers import registry\n"
        "print('restbroker.servers.ejabberd' in sys.modules)\n"
        "registry.kinds(); registry.catalogue('ejabberd')\n"
        "print(sorted({'trio', 'httpx', 'restbroker.servers.ejabberd.connector'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n[]\n"
