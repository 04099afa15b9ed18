"""A broker with its pages, as a process, with a Redis and a server of its own, and jobs wherever a page shows some.

Used by the fixtures of this folder. Always holds: jobs come to where they are by being delivered,
or by being pushed as producers push them; a job's `user` says what becomes of it (`Act`).
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from restbroker.store import queues
from tests.support.answering import Arrival
from tests.support.process import Running
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.scripted import Citizen, Script, job, ready
from tests.support.wait import until

TARGET: Final = "ejabberd"
LATER: Final = "later"
"""A queue that no process serves."""
HOST: Final = "example.org"
MESSAGE: Final = {"from": f"shop@{HOST}", "to": f"iris@{HOST}", "body": "Order 1206 is on its way"}
"""For a command that must not run twice."""
_WORDS: Final = {
    "refused": "Argument 'host' is not in format binary",
    "fails": "internal_error",
}


@attrs.frozen
class Act:
    """What the server does: as `Script`; for `vanishes` it hangs up without an answer, until it is mended."""

    script: Script

    def status(self, arrival: Arrival) -> int:
        """The status for one request of a job."""
        if str(arrival.arguments.get("user", "")).startswith("vanishes") and not self.script.mended.is_set():
            raise ConnectionAbortedError("The server dies, and nobody knows what it did.")
        return self.script(arrival)

    def words(self, arrival: Arrival) -> bytes:
        """The answer, as ejabberd words it."""
        user = str(arrival.arguments.get("user", ""))
        said = next((words for begin, words in _WORDS.items() if user.startswith(begin)), None)
        if said is None or self.script.mended.is_set():
            return b"0"
        return json.dumps({"status": "error", "code": 22, "message": said}).encode()


@attrs.frozen
class Stage:
    """`broker` serves the pages, at `site`."""

    citizen: Citizen
    broker: Running
    site: str

    def push(self, user: str, command: str = "check_account", **more: Any) -> str:
        """Pushes a job for this user; its id."""
        payload = job(user, command=command, **more)
        self.citizen.push(payload)
        return str(json.loads(payload)["jid"])

    def lay(self, zset: str, user: str, at_s: float, **more: Any) -> str:
        """Puts a job that has failed into a set, as the broker does; its id."""
        failed: dict[str, Any] = {
            "error_class": "ServerError",
            "error_message": "ejabberd answered 500.",
            "retry_count": 2,
        }
        payload = job(user, **{**failed, "failed_at": time.time() - 60.5, **more})
        self.citizen.client.command("ZADD", zset, at_s, payload)
        return str(json.loads(payload)["jid"])

    def jids(self, zset: str) -> set[str]:
        """The ids of a set's jobs."""
        return {str(member["jid"]) for member in self.citizen.members(zset)}

    def wait_until_in(self, zset: str, jid: str) -> None:
        """Returns when a set has this job."""
        until(lambda: jid in self.jids(zset), f"{jid} is in {zset}")


@contextmanager
def staged(
    directory: Path, prepare: Callable[[Citizen], None] = lambda _citizen: None, /, **keys: object
) -> Iterator[Stage]:
    """Starts all of it; `keys` are added to env.json. `prepare` may write into Redis before the broker reads there.

    Everything ends with the block.
    """
    with (
        closing(RedisServer(redis_binary(), directory / "redis").start()) as redis,
        ready(directory, redis) as citizen,
    ):
        act = Act(citizen.script)
        citizen.server.act, citizen.server.body = act.status, act.words
        citizen.configure(**{"Stats": True, "StatsPort": 0, "UncertainRetries": 0, "History": "1h", **keys})
        prepare(citizen)
        broker = citizen.start()
        yield Stage(citizen, broker, site_of(broker))


def site_of(broker: Running) -> str:
    """Where a broker serves its pages."""
    return broker.wait_for(r"listening what=/stats addresses=(\S+)")[1]


def populate(stage: Stage) -> None:
    """Puts jobs into every place."""
    citizen = stage.citizen
    for number in range(12):
        stage.push(f"iris{number}")
    dead = [stage.push("refused-omar"), stage.push("refused-mina"), stage.push("refused-noor")]
    dead.append(stage.push("vanishes-lena", "send_message", arguments=MESSAGE))
    for jid in dead:
        stage.wait_until_in("dead", jid)
    stage.wait_until_in("retry", stage.push("fails-aaron"))
    stage.lay("retry", "fails-later", time.time() + 4000)
    for number in range(3):
        queues.schedule(citizen.client, job(f"scheduled{number}"), time.time() + 3600 * (number + 1))
    citizen.push(*(job(f"waits{number}", queue=LATER) for number in range(4)), queue=LATER)
    stage.push("hangs-lena", "register", arguments={"password": "never shown"})
    stage.push("hangs-omar")
    until(lambda: citizen.times_sent()["hangs-omar"] == 1, "jobs are in progress")
    citizen.wait_until_recorded(citizen.identity(stage.broker), "busy", "2")
