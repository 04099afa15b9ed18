"""A real ejabberd in a folder of its own, on loopback ports: started, stopped, killed, restarted.

Always holds: no ejabberdctl, no epmd and no node name are involved; a missing ejabberd is a failure that says how to
install it, never a skip; nothing listens beyond loopback.

Works with Debian's ejabberd 23.01, 24.12 and 26.07 (tried). Traps: bearer tokens need Debian's erlang-p1-oauth2, which
the package does not bring along; installing ejabberd leaves an `epmd` on all interfaces, which nothing here needs.
"""

import base64
import contextlib
import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final, Self

import attrs

from tests.support.daemon import Daemon
from tests.support.ports import free_port

ADMIN: Final = "admin"
LIMITED: Final = "limited"
FULL: Final = "full"
"""May everything by `api_permissions`, and administers no host. No account until a test registers it."""
PASSWORD: Final = "test password ☂"

CONFIG: Final = Path(__file__).with_name("ejabberd.yml").read_text("utf-8")
"""To be filled in by `str.format`."""
SPEAKING_LISTENERS: Final = """\
  - port: {c2s_port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls: false
    shaper: none
  - port: {component_port}
    ip: "127.0.0.1"
    module: ejabberd_service
    shaper: none
    global_routes: false{tls}
    hosts:
      {component}: {{password: {secret}}}
      {remote}: {{password: {secret}}}
"""
SPEAKING_MODULES: Final = """\
  mod_service_log: {{loggers: [{component}]}}
  mod_carboncopy: {{}}
  mod_mam: {{default: always}}
  mod_register: {{ip_access: all}}
  mod_push: {{include_sender: true, include_body: true}}
  mod_stream_mgmt: {{}}
"""
SECRET: Final = "component secret"
REMOTE: Final = "remote.example"
"""A second component, which plays another server: its users are none of this one's."""


def libraries(root: str = "") -> Path:
    """The folder that holds ejabberd's and its dependencies' Erlang applications, as it is called within `root`."""
    found = sorted(Path(f"{root}/usr/lib").glob("*/ejabberd-*/ebin/mod_http_api.beam"))
    found += sorted(Path(f"{root}/usr/lib").glob("ejabberd-*/ebin/mod_http_api.beam"))
    assert found, "ejabberd is not installed; `make test` installs it, or: sudo apt-get install ejabberd"
    assert shutil.which("erl"), "Erlang's `erl` is not on PATH; it comes with: sudo apt-get install ejabberd"
    return Path("/", found[-1].parents[2].relative_to(root or "/"))


@attrs.define
class Ejabberd(Daemon):
    """One server. The accounts `admin` (may everything) and `limited` (may little), both with `password`,
    are on the first of `hosts`.
    """

    name: ClassVar = "ejabberd"
    logs: ClassVar = ("output.log", "ejabberd.log")
    hosts: tuple[str, ...] = ("localhost", "example.org")
    port: int = attrs.Factory(free_port)
    password: str = PASSWORD
    scram: bool = False
    """Keep passwords as SCRAM does, which makes each Basic login cost 6 ms."""
    tokens: bool = True
    """Whether it issues bearer tokens; without a word about it in its configuration, ejabberd does not."""
    without: tuple[str, ...] = ()
    """Erlang applications that it shall not find, as if their packages were missing."""
    component: str = ""
    """The name of the component that gets a copy of every stanza; then clients may log in, too."""
    certificate: Path | None = None
    """A file with key and certificate for components, which come with TLS then."""
    c2s_port: int = attrs.Factory(free_port)
    component_port: int = attrs.Factory(free_port)
    added: str = ""
    """Lines below the configuration."""
    within: tuple[str, ...] = ()
    """A command that runs `erl`, which follows it, in surroundings of its own."""
    by: tuple[str, ...] = ()
    """The command that starts it, in the place of `erl`; such a server can be killed, and not stopped."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def admin(self) -> str:
        return f"{ADMIN}@{self.hosts[0]}"

    @property
    def limited(self) -> str:
        """The JID of the account that may call two commands only."""
        return f"{LIMITED}@{self.hosts[0]}"

    def start(self) -> Self:
        """With its accounts; about 1 s, 5 s with cold disks."""
        super().start()
        for user in (ADMIN, LIMITED):
            status, text = self.call("register", user=user, host=self.hosts[0], password=self.password)
            assert status in (200, 409), f"{user} could not be registered: {text}"
        return self

    def call(self, command: str, /, **arguments: object) -> tuple[int, str]:
        """Calls a command with all rights and returns the status and the answer's text. Raises OSError."""
        # All of 127/8 is local: the permission "by address" needs no account, so that it can make the first one.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=("127.0.0.2", 0))
        with contextlib.closing(connection):
            connection.request("POST", f"/api/{command}", json.dumps(arguments), {"Host": self.hosts[0]})
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")

    def authorization(self, user: str = ADMIN) -> str:
        return "Basic " + base64.b64encode(f"{user}@{self.hosts[0]}:{self.password}".encode()).decode()

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.call("status")[0] == 200
        return False

    def _write_config(self) -> None:
        speaking: dict[str, object] = {
            "c2s_port": self.c2s_port,
            "component_port": self.component_port,
            "component": self.component,
            "remote": REMOTE,
            "secret": json.dumps(SECRET),
            "tls": "" if self.certificate is None else f'\n    tls: true\n    certfile: "{self.certificate}"',
        }
        config = CONFIG.format(
            listeners=SPEAKING_LISTENERS.format(**speaking) if self.component else "",
            modules=SPEAKING_MODULES.format(**speaking) if self.component else "",
            port=self.port,
            hosts=json.dumps(self.hosts),
            admins=json.dumps([self.admin]),
            full=json.dumps([f"{FULL}@{self.hosts[0]}"]),
            limited=json.dumps([self.limited]),
            password_format="scram" if self.scram else "plain",
            oauth_access="all" if self.tokens else "none",
        )
        (self.directory / "ejabberd.yml").write_text(config + self.added, encoding="utf-8")

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._write_config()
        hidden = [word for name in self.without for word in ("-eval", f"code:del_path({name})")]
        spool = json.dumps(str(self.directory / "spool"))  # an Erlang string: the quotes are part of it
        erl = ("erl", "+K", "true", "-mnesia", "dir", spool, *hidden, "-s", "ejabberd", "-noinput")
        return self._run(*(self.by or (*self.within, *erl)), env=self._environment())

    def _environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "ERL_LIBS": str(libraries(self.root)),
            "EJABBERD_CONFIG_PATH": str(self.directory / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.directory / "ejabberd.log"),
            "HOME": str(self.directory),
        }
