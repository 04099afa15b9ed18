"""A real Prosody in a folder of its own, on loopback ports: started, stopped, killed, restarted.

Always holds: no prosodyctl is involved; a missing Prosody is a failure that says how to install it, never a skip;
nothing listens beyond loopback.

Debian packages neither mod_http_roster_admin nor (for Prosody 0.12) mod_rest, mod_http_admin_api and mod_post_msg: our
own stand-ins in prosody_modules/ take their places. Works with Prosody 0.12.3 (tried).

Rosters are fetched from `roster_port`, and events posted to `hook_port`: their server listens there.
"""

import base64
import contextlib
import http.client
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs

from tests.support.daemon import Daemon
from tests.support.ports import accepts, free_port

PASSWORD: Final = "test password ☂"
STAND_INS: Final = Path(__file__).with_name("prosody_modules")
CONFIG: Final = Path(__file__).with_name("prosody.cfg.lua").read_text("utf-8")
"""To be filled in by `str.format`: it listens on loopback alone, and a login costs next to nothing."""
HOST: Final = """
VirtualHost "{host}"
    modules_disabled = {{ "roster" }}
    modules_enabled = {{ {modules} }}
    storage = {{ roster = "memory" }}
    http_roster_url = "{roster_url}"
"""
# Whatever is sent to this host, or to anybody at it, goes to the hook.
HOOK: Final = """
Component "hook.{host}" "rest"
    rest_callback_url = "{hook_url}"
    rest_callback_content_type = "{hook_type}"
"""
INCLUDE: Final = '\nInclude "{directory}/included.cfg.lua"\n'


@attrs.define
class Prosody(Daemon):
    """One server. It has no accounts but those that `register` makes."""

    name: ClassVar = "Prosody"
    logs: ClassVar = ("output.log", "prosody.log")
    host: str = "example.org"
    port: int = attrs.Factory(free_port)
    c2s_port: int = attrs.Factory(free_port)
    roster_port: int = attrs.Factory(free_port)
    hook_port: int = attrs.Factory(free_port)
    """Where it posts what is sent to the host `hook.<host>`."""
    roster_path: str = "/roster/%s"
    roster_login: str = ""
    """As in `user:password@`."""
    hook_path: str = "/events/prosody"
    hook_login: str = ""
    hook_type: str = "application/json"
    modules: tuple[str, ...] = (
        "http_roster_admin",
        "block_subscriptions",
        "rest",
        "http_admin_api",
        "post_msg",
    )
    authentication: str = "internal_plain"
    """With `internal_hashed`, accounts can be disabled (from 13 on), and each login costs 10 ms."""
    originals: Path | None = None
    """A folder of original modules, in the place of our stand-ins."""
    included: str | None = None
    """A file of its own that its configuration includes, as Debian's does with conf.d: the hosts, in the place of those
    that are described here."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def roster_admin_url(self) -> str:
        return f"{self.url}/roster_admin"

    @property
    def rest_url(self) -> str:
        return f"{self.url}/rest"

    @property
    def hook_host(self) -> str:
        return f"hook.{self.host}"

    def reset(self) -> None:
        """As it was after its start: nobody online and no accounts."""
        self.act("reset")

    def register(self, *users: str, password: str = PASSWORD) -> None:
        self.act("register", dict.fromkeys(users, password))

    def token(self, user: str, scope: str = "") -> str:
        token: str = self.act("token", {"user": user, **({"scope": scope} if scope else {})})
        return token

    def appear(self, users: Sequence[str]) -> None:
        """Lets these users be online without a client: they ask for their rosters, and count what is sent to them."""
        self.act("appear", {"users": list(users)})

    def sent(self) -> Mapping[str, int]:
        """How many were sent to those who appeared of `push`, `iq` (their rosters), `presence`, `message`, `error`."""
        return dict(self.act("sent") or {})

    def online(self) -> Mapping[str, int]:
        return dict(self.act("online") or {})

    def act(self, name: str, argument: object = None) -> Any:
        status, text = self.call("POST", f"/test_control/{name}", json.dumps(argument))
        assert status == 200, f"{name}: {status} {text}"
        return json.loads(text).get("answer")

    def call(
        self, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None, timeout_s: float = 30.0
    ) -> tuple[int, str]:
        """Asks it over HTTP and returns the status and the answer's text. Raises OSError, TimeoutError among them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        with contextlib.closing(connection):
            connection.request(method, path, body.encode() or None, dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")

    def refresh(self, *users: object, timeout_s: float = 30.0) -> tuple[int, str]:
        """Asks for a refresh as the roster module wants it. Raises TimeoutError where it never answers."""
        return self.call("POST", "/roster_admin/refresh", json.dumps(users), timeout_s=timeout_s)

    def authorization(self, user: str, password: str = PASSWORD) -> str:
        """The value of an Authorization header: what comes before the @ for mod_rest, a bare JID for mod_post_msg."""
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            self.online()
            return accepts(self.c2s_port)
        return False

    def _config(self) -> str:
        paths = [str(self._within(path)) for path in (self.originals, STAND_INS) if path]
        hosts = INCLUDE
        if self.included is None:
            hosts = HOST + HOOK * ("rest" in self.modules)
        else:
            (self.directory / "included.cfg.lua").write_text(self.included, encoding="utf-8")
        return (CONFIG + hosts).format(
            directory=self.directory,
            plugin_paths=", ".join(json.dumps(path) for path in paths),
            c2s_port=self.c2s_port,
            port=self.port,
            host=self.host,
            authentication=self.authentication,
            modules=", ".join(json.dumps(module) for module in self.modules),
            roster_url=f"http://{self.roster_login}127.0.0.1:{self.roster_port}{self.roster_path}",
            hook_type=self.hook_type,
            hook_url=f"http://{self.hook_login}127.0.0.1:{self.hook_port}{self.hook_path}",
        )

    def _within(self, modules: Path) -> Path:
        """This folder, or a copy that it can read from within its root."""
        if not self.root:
            return modules
        return Path(shutil.copytree(modules, self.directory / modules.name, dirs_exist_ok=True))

    def _spawn(self) -> subprocess.Popen[bytes]:
        assert shutil.which("prosody"), (
            "Prosody is not installed; `make test` installs it, or: sudo apt-get install prosody"
        )
        config = self.directory / "prosody.cfg.lua"
        config.write_text(self._config(), encoding="utf-8")
        return self._run("prosody", "--config", str(config), "-F")
