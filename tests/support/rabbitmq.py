"""A real RabbitMQ in a folder of its own, on loopback ports: started, stopped, killed, restarted, published to.

Always holds: its epmd is its own and ends with it; a missing RabbitMQ is a failure that says how to install it, never a
skip; nothing listens beyond loopback.

Works with Debian's rabbitmq-server 3.10.8 (tried). Users and what they may do stand in a file of definitions, which is
loaded at each start: `USER` may do everything in the virtual host `/`, `LIMITED` may read only.
"""

import base64
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

import attrs
import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

from tests.support.daemon import Daemon
from tests.support.ports import accepts, free_port
from tests.support.sweeper import MARK, spawn
from tests.support.wait import until

USER: Final = "restbroker"
LIMITED: Final = "reader"
PASSWORD: Final = "a password of RabbitMQ's"
_SCRIPT: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Not Debian's wrapper in /usr/sbin, which becomes the user rabbitmq."""
_CONFIG: Final = """\
listeners.tcp.1 = 127.0.0.1:{port}
load_definitions = {directory}/definitions.json
loopback_users = none
cluster_formation.peer_discovery_backend = rabbit_peer_discovery_classic_config
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 1MB
raft.wal_max_size_bytes = 16000000
log.console = true
log.console.level = info
log.file = false
"""
_TLS: Final = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {ca}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
"""


@attrs.frozen
class Certificate:
    """What a server with TLS shows, and who signed it."""

    ca: Path
    certificate: Path
    key: Path


@attrs.define
class RabbitMQ(Daemon):
    """One server. `certificate`: it also speaks TLS, at `tls_port`; `has_metrics`: its plugin for Prometheus runs."""

    name: ClassVar = "RabbitMQ"
    certificate: Certificate | None = None
    has_metrics: bool = False
    metrics_port: int = attrs.Factory(free_port)
    port: int = attrs.Factory(free_port)
    tls_port: int = attrs.Factory(free_port)
    _dist_port: int = attrs.Factory(free_port)
    _epmd_port: int = attrs.Factory(free_port)
    _epmd: subprocess.Popen[bytes] | None = None

    def url(self, user: str = USER, password: str = PASSWORD) -> str:
        """The URL of the virtual host `/`."""
        return f"amqp://{user}:{password.replace(' ', '%20')}@127.0.0.1:{self.port}/%2F"

    @contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        connection = pika.BlockingConnection(pika.URLParameters(self.url()))
        try:
            yield connection.channel()
        finally:
            with contextlib.suppress(pika.exceptions.AMQPError):
                connection.close()

    def declare(self, *exchanges: str, kind: str = "topic", durable: bool = False) -> None:
        with self.channel() as channel:
            for exchange in exchanges:
                channel.exchange_declare(exchange, kind, durable=durable)

    def publish(self, exchange: str, key: str, body: object) -> None:
        """One event, confirmed by the server. `body`: what JSON is made of, or bytes as they are."""
        self.fill(exchange, [(key, body)])

    def fill(self, exchange: str, events: Iterable[tuple[str, object]], *, confirm: bool = True) -> int:
        """Publishes these pairs of routing key and body, and returns how many the server confirmed.

        Raises what pika raises where the connection ends; without properties, as MongooseIM does.
        """
        sent = 0
        with self.channel() as channel:
            if confirm:
                channel.confirm_delivery()
            for key, body in events:
                channel.basic_publish(exchange, key, as_bytes(body))
                sent += 1
        return sent

    def depth(self, queue: str) -> int:
        """How many messages are ready in a queue; RabbitMQ counts those of a quorum queue now and then."""
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    def exists(self, exchange: str) -> bool:
        with self.channel() as channel:
            try:
                channel.exchange_declare(exchange, passive=True)
            except pika.exceptions.ChannelClosedByBroker:
                return False
            return True

    def log(self) -> str:
        path = self.directory / "output.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def _ready(self) -> bool:
        if not accepts(self.port):
            return False
        with contextlib.suppress(pika.exceptions.AMQPError, OSError), self.channel():
            return True
        return False

    def _write_config(self) -> None:
        text = _CONFIG.format(port=self.port, directory=self.directory)
        if self.certificate is not None:
            text += _TLS.format(port=self.tls_port, **attrs.asdict(self.certificate))
        if self.has_metrics:
            text += f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {self.metrics_port}\n"
        (self.directory / "rabbitmq.conf").write_text(text, encoding="utf-8")
        plugins = "[rabbitmq_prometheus]" if self.has_metrics else "[]"
        (self.directory / "enabled_plugins").write_text(f"{plugins}.\n", encoding="ascii")
        (self.directory / "definitions.json").write_text(json.dumps(_DEFINITIONS), encoding="utf-8")

    def _spawn(self) -> subprocess.Popen[bytes]:
        assert _SCRIPT.exists(), (
            "RabbitMQ is not installed; `make test` installs it, or: sudo apt-get install rabbitmq-server"
        )
        self._write_config()
        environment = self._environment()
        # One of its own in the foreground: the one that `erl` would start outlives it.
        self._epmd = spawn(
            [_epmd(), "-port", str(self._epmd_port), "-address", "127.0.0.1"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until(lambda: accepts(self._epmd_port), "epmd answers")
        return self._run(str(_SCRIPT), env=environment)

    def _environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "TZ", MARK) if key in os.environ}
        folder = str(self.directory)
        return {
            **kept,
            "HOME": folder,
            # So that the script becomes the server, as under systemd, and a signal reaches it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +SDio 2 +A 4 -kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _wait(self) -> None:
        try:
            super()._wait()
        finally:
            if self._epmd is not None:
                self._epmd.kill()
                self._epmd.wait(timeout=30)
                self._epmd = None


def as_bytes(body: object) -> bytes:
    """An event's body as MongooseIM writes it: JSON in UTF-8, unescaped; bytes stay."""
    return body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _epmd() -> str:
    found = shutil.which("epmd")
    assert found, "epmd is not installed; it comes with rabbitmq-server (erlang-base)"
    return found


def _hash(password: str) -> str:
    """As RabbitMQ keeps a password: base64 of four bytes of salt and SHA-256 of both."""
    salt = b"\x01\x02\x03\x04"
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _rights(user: str, configure: str, write: str) -> dict[str, str]:
    return {"user": user, "vhost": "/", "configure": configure, "write": write, "read": ".*"}


_DEFINITIONS: Final = {
    "vhosts": [{"name": "/"}],
    "users": [
        {
            "name": name,
            "password_hash": _hash(PASSWORD),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": [],
        }
        for name in (USER, LIMITED)
    ],
    "permissions": [_rights(USER, ".*", ".*"), _rights(LIMITED, "", "")],
}
