"""A real HTTP proxy (Debian's tinyproxy) that demands a login, and writes down what it connects to."""

import subprocess
from typing import ClassVar

import attrs

from tests.support.daemon import Daemon
from tests.support.ports import accepts, free_port

USER = "broker"
_CONFIG = """
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 50
LogLevel Connect
LogFile "{directory}/proxy.log"
BasicAuth {user} {password}
"""


@attrs.define
class Tinyproxy(Daemon):
    """One proxy; `password` counts from its next start on."""

    name: ClassVar[str] = "tinyproxy"
    logs: ClassVar[tuple[str, ...]] = ("proxy.log", "output.log")
    password: str = "proxys-secret"
    port: int = attrs.field(factory=free_port)

    @property
    def log(self) -> str:
        """What it has connected to so far."""
        return (self.directory / "proxy.log").read_text(encoding="utf-8")

    def _spawn(self) -> "subprocess.Popen[bytes]":
        config = self.directory / "tinyproxy.conf"
        config.write_text(
            _CONFIG.format(port=self.port, directory=self.directory, user=USER, password=self.password),
            encoding="utf-8",
        )
        return self._run("tinyproxy", "-d", "-c", str(config))

    def _ready(self) -> bool:
        return accepts(self.port)
