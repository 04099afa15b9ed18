"""Kinds of targets and who speaks for them."""

import subprocess
import sys

import pytest

from restbroker.connectors import registry
from restbroker.connectors.ejabberd.connector import FACTORY
from restbroker.errors import ConfigError


def test_each_kind_has_a_factory() -> None:
    assert registry.factory("ejabberd") is FACTORY
    assert [registry.factory(kind).options.__name__ for kind in registry.KINDS] == ["Options"] * len(registry.KINDS)


def test_an_unknown_kind_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ConfigError, match="These exist: ejabberd"):
        registry.factory("jabberd14")


def test_no_connector_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, restbroker.connectors.registry; print('restbroker.connectors.ejabberd' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
