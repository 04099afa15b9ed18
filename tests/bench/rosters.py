"""What it takes to refresh the rosters of 10,000 users: `make bench-rosters`. Prints tables; no test.

First nobody is online: rounds of the module alone, which gets the same requests one after another, of a refresh by
restbroker, from its first push to the last verdict, and of the command, its start included, take turns.

Then a real Prosody, in which users are online without clients (`Prosody.appear`), fetches rosters from a real
restbroker, which refreshes them. They log in with 20 contacts each. Then one job refreshes all users, whose rosters are
as they were; and then each user gets one contact more, by a job of his own. Times are from the first push into the
queue until restbroker has settled the last job.
"""

import contextlib
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import redis

from restbroker.console.load_config import load_quietly
from restbroker.rosters import operate
from restbroker.rosters.operate import Writer
from restbroker.rosters.refresh_target import RefreshTarget
from restbroker.rosters.rules import Contact, as_stored
from restbroker.rosters.store import change
from restbroker.servers.roster_change import Change
from restbroker.store.client import StoreSettings, open_client
from tests.support.bench import cpu_s
from tests.support.process import Running, run, started
from tests.support.prosody import Prosody, Traffic
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.shared import TOKEN

USERS, CONTACTS, ROUNDS = 10_000, 20, 11
AT_ONCE = 50
PATIENCE_S = 900.0
QUEUE = "queue:rosters"
REFRESH = "POST /roster_admin/refresh"


@attrs.frozen
class Figures:
    """Time from the first push on, CPU time of both sides, and what Prosody asked and was asked meanwhile."""

    took_s: float
    broker_s: float
    prosody_s: float
    traffic: Traffic


@attrs.frozen
class Bench:
    """The servers, and who is online."""

    prosody: Prosody
    line: redis.Redis
    broker: Running
    users: tuple[str, ...]

    def appear(self) -> None:
        """All users log in, some at a time."""
        for end in range(AT_ONCE, len(self.users) + 1, AT_ONCE):
            self.prosody.appear(self.users[end - AT_ONCE : end])
            while (sent := self.prosody.sent()).get("iq", 0) < end:
                assert not sent.get("error"), "the roster service refused somebody, who is offline now"
                time.sleep(0.05)

    def refresh_all(self) -> int:
        """One job for all of them; how many jobs are to be done."""
        self._push(iter([["refresh", list(self.users), TOKEN]]))
        return 1 + len(self.users)

    def add_contacts(self) -> int:
        """A job for each user; how many jobs are to be done, refreshes among them."""
        jid = f"new@{self.prosody.host}"
        self._push(["add_contact", {"user": user, "jid": jid}, TOKEN] for user in self.users)
        return 2 * len(self.users)

    def timed(self, start: Callable[[], int]) -> Figures:
        """What it took until all that `start` begins is done."""
        self.prosody.traffic()
        before, cpu_before_s, begun_s = self._settled(), self._cpu_s(), time.monotonic()
        wanted = before + start()
        while self._settled() < wanted:
            assert time.monotonic() < begun_s + PATIENCE_S, f"{self._settled() - before} jobs are done"
            time.sleep(0.1)
        cpu_s = [after - earlier for after, earlier in zip(self._cpu_s(), cpu_before_s, strict=True)]
        return Figures(time.monotonic() - begun_s, cpu_s[0], cpu_s[1], self.prosody.traffic())

    def offline_round(self, writer: Writer, config: str) -> tuple[float, float, float]:
        """Seconds that the module needs for all of them by itself, a refresh by restbroker, and the command."""
        begun_s = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.prosody.port)
        for start in range(0, len(self.users), AT_ONCE):
            body = json.dumps(self.users[start : start + AT_ONCE])
            connection.request("POST", "/roster_admin/refresh", body, {"Content-Type": "application/json"})
            assert json.loads(connection.getresponse().read())["updated"] == AT_ONCE
        connection.close()
        pushed_s = time.monotonic()
        jids = writer.refresh(self.users, wanted=True)
        assert operate.wait_for_refreshes(writer.client, jids, PATIENCE_S, late=lambda: None).done == len(self.users)
        called_s = time.monotonic()
        assert not run(["roster", "refresh", "--all", "--wait", "--config", config]).returncode
        return pushed_s - begun_s, called_s - pushed_s, time.monotonic() - called_s

    def _cpu_s(self) -> tuple[float, float]:
        assert self.prosody.process is not None
        return cpu_s(self.broker.process.pid), cpu_s(self.prosody.process.pid)

    def _settled(self) -> int:
        # As Sidekiq counts: each try is processed, and one that failed is failed, too.
        processed, failed = (int(found or 0) for found in self.line.mget("stat:processed", "stat:failed"))
        return processed - failed

    def _push(self, every: Iterator[list[object]]) -> None:
        jobs = [
            json.dumps({"class": "Bench", "jid": f"{number:024x}", "queue": "rosters", "retry": True, "args": args})
            for number, args in enumerate(every)
        ]
        for start in range(0, len(jobs), 1000):
            self.line.lpush(QUEUE, *jobs[start : start + 1000])


def main() -> None:
    """Runs it and prints what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(redis_binary(), Path(folder, "redis")).start()
        prosody = Prosody(Path(folder, "prosody"), modules=("http_roster_admin", "block_subscriptions"))
        config = _configured(folder, server, prosody)
        try:
            _write(server.url, users := tuple(f"user{number}" for number in range(USERS)))
            prosody.start()
            with (
                started(["run", "--config", config], directory=Path(folder, "run")) as broker,
                redis.Redis.from_url(server.url) as line,
            ):
                broker.wait_for("broker.started", timeout_s=120)
                bench = Bench(prosody, line, broker, users)
                _compare(bench, config, server.url)
                _measure(bench)
        finally:
            prosody.kill()
            server.close()


def _configured(folder: str, server: RedisServer, prosody: Prosody) -> str:
    target = {"Kind": "prosody-roster", "URL": prosody.roster_admin_url, "Domain": prosody.host, "Queues": ["rosters"]}
    roster = {"Listen": f"127.0.0.1:{prosody.roster_port}", "Target": "rosters"}
    config = {"RedisURL": server.url, "Token": TOKEN, "Targets": {"rosters": target}, "Roster": roster}
    Path(folder, "env.json").write_text(json.dumps(config))
    return f"{folder}/env.json"


def _write(url: str, users: Sequence[str]) -> None:
    """Rosters, of which Prosody knows nothing yet."""
    client = open_client(StoreSettings(url))
    contact = as_stored(Contact(None, ("friends",)))
    put = {f"contact{number}@example.org": contact for number in range(CONTACTS)}
    for start in range(0, len(users), AT_ONCE):
        change(client, [Change(user, put, whole=True) for user in users[start : start + AT_ONCE]], None)
    client.close()


def _compare(bench: Bench, config: str, url: str) -> None:
    refreshing = RefreshTarget.from_config(load_quietly(Path(config), "Roster"))
    with contextlib.closing(open_client(StoreSettings(url))) as client:
        writer = Writer(client, "bench", refreshing)
        rounds = [bench.offline_round(writer, config) for _ in range(ROUNDS)]
    sys.stdout.write("offline, in the median of rounds   time   of the module's\n")
    for name, column in (("the module alone", 0), ("a refresh", 1), ("the command, with its start", 2)):
        took_s = statistics.median(one[column] for one in rounds)
        ratio = statistics.median(one[column] / one[0] for one in rounds)
        sys.stdout.write(f"{name:31} {took_s:5.2f} s {ratio:10.1f} times\n")
    sys.stdout.flush()


def _measure(bench: Bench) -> None:
    bench.appear()
    sys.stdout.write("                            time  CPU: broker  Prosody  refreshes   GETs  at once\n")
    for name, start in (("one job for all users", bench.refresh_all), ("a new contact for each", bench.add_contacts)):
        found = bench.timed(start)
        refreshes = found.traffic.came.get(REFRESH, 0)
        alone = sum(found.traffic.came.values()) - refreshes
        sys.stdout.write(f"{name:24} {found.took_s:5.1f} s {found.broker_s:10.1f} s {found.prosody_s:6.1f} s ")
        sys.stdout.write(f"{refreshes:9} {found.traffic.asked:6} {found.traffic.peak:8}")
        sys.stdout.write(f"  and {alone} of single users\n" if alone else "\n")
        sys.stdout.flush()
    sys.stdout.write(f"roster pushes: {bench.prosody.sent().get('push', 0)} of {len(bench.users)}\n")


if __name__ == "__main__":
    main()
