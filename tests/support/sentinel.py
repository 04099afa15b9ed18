"""A Redis master with replicas, watched by three sentinels: for tests of a failover.

Always holds: all of it is on loopback and ends with `close`, also what a sentinel wrote into its configuration.
"""

import subprocess
from pathlib import Path
from typing import Self

import attrs

from tests.support.ports import accepts, free_port
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.sweeper import spawn
from tests.support.wait import until

MASTER = "jobs"
PASSWORD = "for sentinels only"
_REPLICA = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}


@attrs.define
class Sentinel:
    """One sentinel; it takes a dead master for dead after `down_after_ms`."""

    directory: Path
    port: int = attrs.field(factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self, master_port: int, down_after_ms: int) -> Self:
        """Starts it, and returns when it listens. It answers only with `PASSWORD`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\n"
            f'requirepass "{PASSWORD}"\nsentinel sentinel-pass "{PASSWORD}"\n'
            f"sentinel monitor {MASTER} 127.0.0.1 {master_port} 2\n"
            f"sentinel down-after-milliseconds {MASTER} {down_after_ms}\n"
            f"sentinel failover-timeout {MASTER} 6000\n"
        )
        with (self.directory / "sentinel.log").open("wb") as log:
            self.process = spawn(
                [str(redis_binary()), str(config), "--sentinel"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        until(lambda: accepts(self.port), f"the sentinel listens:\n{self.log()}")
        return self

    def ask(self, *command: str) -> str:
        """What it answers to `SENTINEL …`, as redis-cli prints it."""
        arguments = ["redis-cli", "-p", str(self.port), "-a", PASSWORD, "--no-auth-warning", "SENTINEL", *command]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=True).stdout.strip()

    def log(self) -> str:
        path = self.directory / "sentinel.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=30)


@attrs.define
class Group:
    """`servers[0]` is the master at first."""

    servers: list[RedisServer]
    sentinels: list[Sentinel]

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        return tuple(("127.0.0.1", sentinel.port) for sentinel in self.sentinels)

    @property
    def master(self) -> RedisServer:
        return self.servers[0]

    @property
    def replica(self) -> RedisServer:
        return self.servers[1]

    def failover(self) -> None:
        """Has a sentinel move the master in good order, as soon as it thinks well enough of the replica."""
        until(lambda: self.sentinels[0].ask("FAILOVER", MASTER) == "OK", "the sentinel begins")

    def close(self) -> None:
        for sentinel in self.sentinels:
            sentinel.close()
        for server in self.servers:
            server.close()


def start_group(directory: Path, replicas: int = 1, down_after_ms: int = 700) -> Group:
    """Starts everything, and returns when the replicas are in step and each sentinel knows the others."""
    master = RedisServer(redis_binary(), directory / "0", _REPLICA)
    group = Group([master], [])
    try:
        master.start()
        for number in range(1, replicas + 1):
            options = {**_REPLICA, "replicaof": f"127.0.0.1 {master.port}"}
            group.servers.append(RedisServer(redis_binary(), directory / str(number), options).start())
        until(lambda: master.command("INFO replication").count("state=online") == replicas, "the replicas are in step")
        for number in range(3):
            sentinel = Sentinel(directory / f"sentinel-{number}")
            group.sentinels.append(sentinel.start(master.port, down_after_ms))
        until(lambda: all(_knows_all(sentinel, replicas) for sentinel in group.sentinels), "all know each other")
    except BaseException:
        group.close()
        raise
    return group


def _knows_all(sentinel: Sentinel, replicas: int) -> bool:
    facts = sentinel.ask("MASTER", MASTER).split("\n")
    known = dict(zip(facts[::2], facts[1::2], strict=False))
    return (known.get("num-slaves"), known.get("num-other-sentinels")) == (str(replicas), "2")
