"""A real ejabberd in a folder of its own, on loopback ports: started, stopped, killed, restarted.

For tests; and `python -m tests.support.ejabberd --port 5281 --domain example.org` keeps one running until Ctrl-C.
Always holds: no ejabberdctl, no epmd, no node name and no other user are involved, so it works in any container; a
missing ejabberd is a failure that says how to install it, never a skip; nothing listens beyond loopback.

Works with Debian's ejabberd 23.01 and 24.12 (tried). Traps: bearer tokens need Debian's erlang-p1-oauth2, which the
package does not bring along; installing ejabberd leaves an `epmd` on all interfaces, which nothing here needs.
"""

import argparse
import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import attrs

from tests.support.ports import free_port
from tests.support.wait import until

ADMIN: Final = "admin"
LIMITED: Final = "limited"
PASSWORD: Final = "test password ☂"
START_TIMEOUT_S: Final = 60.0
LOG_TAIL_LINES: Final = 30

CONFIG: Final = """\
hosts: {hosts}
loglevel: warning
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_http
    request_handlers:
      /api: mod_http_api
      /pinned/v1: mod_http_api
      /oauth: ejabberd_oauth
auth_method: internal
auth_password_format: {password_format}
registration_timeout: infinity
oauth_access: {oauth_access}
acl:
  admin:
    user: {admins}
  limited:
    user: {limited}
access_rules:
  configure:
    allow: admin
api_permissions:
  "admin":
    who:
      access:
        - allow:
          - acl: admin
    what: ["*"]
  "limited":
    who:
      access:
        - allow:
          - acl: limited
    what: ["check_account", "registered_users"]
  "admin's tokens":
    who:
      oauth:
        - scope: "ejabberd:admin"
        - access:
          - allow:
            - acl: admin
    what: {token_rights}
  "by address":
    who:
      ip: "127.0.0.2/32"
    what: ["*"]
modules:
  mod_admin_extra: {{}}
  mod_http_api: {{}}
  mod_last: {{}}
  mod_muc: {{}}
  mod_muc_admin: {{}}
  mod_offline: {{}}
  mod_private: {{}}
  mod_roster: {{}}
  mod_shared_roster: {{}}
  mod_vcard: {{}}
"""


def libraries() -> Path:
    """The folder that holds ejabberd's and its dependencies' Erlang applications."""
    found = sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin/mod_http_api.beam"))
    found += sorted(Path("/usr/lib").glob("ejabberd-*/ebin/mod_http_api.beam"))
    assert found, "ejabberd is not installed; `make test` installs it, or: sudo apt-get install ejabberd"
    assert shutil.which("erl"), "Erlang's `erl` is not on PATH; it comes with: sudo apt-get install ejabberd"
    return found[-1].parents[2]


@attrs.define
class Ejabberd:
    """One server. The accounts `admin` (may everything) and `limited` (may little), both with `password`,
    are on the first of `hosts`.
    """

    directory: Path
    hosts: tuple[str, ...] = ("localhost", "example.org")
    port: int = attrs.Factory(free_port)
    password: str = PASSWORD
    scram: bool = False
    """Keep passwords as SCRAM does, which makes each Basic login cost 6 ms."""
    tokens: bool = True
    """Whether it issues bearer tokens; without a word about it in its configuration, ejabberd does not."""
    token_rights: tuple[str, ...] = ("*",)
    """The commands that a bearer token of the admin may call."""
    without: tuple[str, ...] = ()
    """Erlang applications that it shall not find, as if their packages were missing."""
    by: tuple[str, ...] = ()
    """The command that starts it, in the place of `erl`; such a server can be killed, and not stopped."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL under which commands are found."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def admin(self) -> str:
        """The admin's JID."""
        return f"{ADMIN}@{self.hosts[0]}"

    @property
    def limited(self) -> str:
        """The JID of the account that may call two commands only."""
        return f"{LIMITED}@{self.hosts[0]}"

    def start(self) -> Self:
        """Starts it on the spool that is there, and returns when it answers; about 1 s, 5 s with cold disks."""
        assert self.process is None, "this ejabberd runs already"
        self._write_config()
        process = self.process = self._spawn()
        try:
            until(lambda: process.poll() is not None or self._ready(), "ejabberd answers", START_TIMEOUT_S)
            assert process.poll() is None, f"ejabberd did not start:\n{self.log_tail()}"
            for user in (ADMIN, LIMITED):
                status, text = self.call("register", user=user, host=self.hosts[0], password=self.password)
                assert status in (200, 409), f"{user} could not be registered: {text}"
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Stops it gracefully (SIGTERM) and waits; takes 1 to 2 s, in which it answers oddly."""
        if self.process is not None:
            self.process.terminate()
            self._wait()

    def kill(self) -> None:
        """Ends it at once (SIGKILL)."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self._wait()

    def restart(self) -> None:
        """Stops it gracefully and starts it again on the same port and spool."""
        self.stop()
        self.start()

    def call(self, command: str, /, **arguments: object) -> tuple[int, str]:
        """Calls a command with all rights and returns the status and the answer's text. Raises OSError."""
        # All of 127/8 is local: the permission "by address" needs no account, so that it can make the first one.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=("127.0.0.2", 0))
        with contextlib.closing(connection):
            connection.request("POST", f"/api/{command}", json.dumps(arguments), {"Host": self.hosts[0]})
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")

    def authorization(self, user: str = ADMIN) -> str:
        """The value of an Authorization header for an account of the first host."""
        return "Basic " + base64.b64encode(f"{user}@{self.hosts[0]}:{self.password}".encode()).decode()

    def log_tail(self) -> str:
        """The last lines of what it printed and logged."""
        lines: list[str] = []
        for path in (self.directory / "output.log", self.directory / "ejabberd.log"):
            if path.exists():
                lines += path.read_text("utf-8", "replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(lines)

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.call("status")[0] == 200
        return False

    def _write_config(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        config = CONFIG.format(
            port=self.port,
            hosts=json.dumps(self.hosts),
            admins=json.dumps([self.admin]),
            limited=json.dumps([self.limited]),
            password_format="scram" if self.scram else "plain",
            oauth_access="all" if self.tokens else "none",
            token_rights=json.dumps(self.token_rights),
        )
        (self.directory / "ejabberd.yml").write_text(config, encoding="utf-8")

    def _spawn(self) -> subprocess.Popen[bytes]:
        hidden = [word for name in self.without for word in ("-eval", f"code:del_path({name})")]
        spool = json.dumps(str(self.directory / "spool"))  # an Erlang string: the quotes are part of it
        with (self.directory / "output.log").open("ab") as output:
            return subprocess.Popen(
                self.by or ["erl", "+K", "true", "-mnesia", "dir", spool, *hidden, "-s", "ejabberd", "-noinput"],
                cwd=self.directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # `erl` is a shell script that becomes the emulator; its helpers share the group. Ctrl-C is ours.
                start_new_session=True,
            )

    def _environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "ERL_LIBS": str(libraries()),
            "EJABBERD_CONFIG_PATH": str(self.directory / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.directory / "ejabberd.log"),
            "HOME": str(self.directory),
        }

    def _wait(self) -> None:
        if self.process is not None:
            self.process.wait(timeout=30)
            self.process = None


def say(line: str) -> None:
    """A line to whoever started this, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Keeps an ejabberd running until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.ejabberd", description=main.__doc__)
    parser.add_argument("--port", type=int, default=5281)
    parser.add_argument("--domain", default="example.org")
    parser.add_argument("--password", default="test")
    given = parser.parse_args()
    # Set anew: a shell has what a script starts in the background ignore Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="ejabberd-") as directory:
        server = Ejabberd(Path(directory), (given.domain, "localhost"), given.port, given.password)
        try:
            server.start()
            say(f"ejabberd answers at {server.url} to {server.admin}, password {server.password}. Ctrl-C ends it.")
            while server.process is not None and server.process.poll() is None:
                time.sleep(1)
            say(f"ejabberd ended by itself:\n{server.log_tail()}")
        except KeyboardInterrupt:
            server.stop()
        finally:
            server.kill()


if __name__ == "__main__":
    main()
