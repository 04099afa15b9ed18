"""Who types: for the record of what people did."""

import getpass
import os
import socket

import pytest

from restbroker.console.who import who


def test_who_calls_sudo_is_meant_and_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ann")
    assert who() == f"ann@{socket.gethostname()}"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(getpass, "getuser", nameless)
    assert who() == f"uid {os.getuid()}@{socket.gethostname()}"
