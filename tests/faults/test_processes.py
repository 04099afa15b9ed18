"""`run --processes N` with real processes and real signals: what befalls a worker, its supervisor, and the group."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from restbroker.store.client import StoreSettings, items, mapping, open_client, raw
from tests.faults.test_systemd import listening
from tests.support.answering import AnsweringServer, Arrival
from tests.support.pages import page
from tests.support.ports import free_port
from tests.support.process import Running, Stopwatch, freeze, started
from tests.support.redis_line import Report
from tests.support.several import Several, target, times_done
from tests.support.shared import TOKEN, jobs_in
from tests.support.wait import until

CONCURRENCY = 4
JOBS = 200


@attrs.define(eq=False)
class Group:
    """A group of workers on one queue, behind which a server answers as `act` says."""

    several: Several
    directory: Path
    server: AnsweringServer
    health_port: int = attrs.field(factory=free_port)

    def configure(self, **more: object) -> None:
        one = target(self.server.port, "q", Concurrency=CONCURRENCY, RequestTimeout="60s")
        self.several.configure({"one": one}, HealthBind=f"127.0.0.1:{self.health_port}", **more)

    @contextmanager
    def started(self, *flags: str, count: int, environ: dict[str, str] | None = None) -> Iterator[Running]:
        """Runs it inside the block, from when each worker serves."""
        command = [*self.several.command, *flags]
        with started(command, directory=self.directory / "run", environ=environ) as running:
            running.wait_for(r"broker\.started", times=count, timeout_s=60)
            self.wait_until_ready()
            try:
                yield running
            finally:
                for pid in workers(running):
                    _kill(pid, signal.SIGKILL)

    def ready(self) -> tuple[int, dict[str, object]]:
        answer = page(self.health_port, "/readyz")
        return answer.status_code, answer.json()

    def wait_until_ready(self) -> None:
        until(lambda: self.ready()[0] == 200, "the group is ready")

    def in_progress(self, pid: int) -> int:
        """How many jobs Redis lists as in progress in a worker."""
        client = self.several.client
        keys = [raw(key) for key in items(client.command("KEYS", f"restbroker:ip:*:{pid}:*"))]
        return sum(jobs_in(mapping(client.command("HGETALL", key))) for key in keys)

    def beating(self) -> set[int]:
        """The process ids of those that may take jobs."""
        names = items(self.several.client.command("HKEYS", "restbroker:beats"))
        return {int(raw(name).decode().split(":")[-3]) for name in names}


@pytest.fixture
def group(tmp_path: Path, redis_url: str) -> Iterator[Group]:
    several = Several(tmp_path / "env.json", redis_url, open_client(StoreSettings(redis_url)))
    with AnsweringServer() as server:
        one = Group(several, tmp_path, server)
        one.configure()
        yield one
    several.client.close()


def workers(running: Running) -> list[int]:
    """The process ids of the workers that live, the oldest first."""
    started_once = [int(pid) for pid in re.findall(r"broker\.started(?: worker=\d+)? pid=(\d+)", running.output())]
    return [pid for pid in dict.fromkeys(started_once) if lives(pid)]


def children(running: Running) -> set[int]:
    """The processes that it started, also those that have ended just now."""
    # A child belongs to the thread that started it.
    lists = [file.read_text() for file in Path(f"/proc/{running.process.pid}/task").glob("*/children")]
    return {int(pid) for pids in lists for pid in pids.split()}


def lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def answering_after(delay_s: float) -> Callable[[Arrival], int]:
    def act(_arrival: Arrival) -> int:
        time.sleep(delay_s)
        return 200

    return act


@pytest.mark.promise("No command is lost", "workers or their supervisor are killed")
def test_jobs_of_killed_worker_are_done_and_it_is_restarted(group: Group, report: Report) -> None:
    group.server.act = answering_after(0.02)
    with group.started("--processes", "2", count=2) as running:
        group.several.push("q", range(JOBS))
        until(lambda: len(group.server.arrivals) > 50, "the load runs")
        victim = workers(running)[0]
        # Frozen first, so that its jobs in progress stand still while they are counted.
        freeze(victim)
        held = group.in_progress(victim)
        killed_at_s = time.monotonic()
        _kill(victim, signal.SIGKILL)
        until(lambda: group.in_progress(victim) == 0, "its jobs went back")
        report(f"{held} jobs of a killed worker were back after {time.monotonic() - killed_at_s:.2f} s")
        group.several.wait_until_finished()
        running.wait_for(rf"code=WorkerEnded message=\"Worker \d \(pid {victim}\) was killed by SIGKILL")
        running.wait_for(r"broker\.started", times=3, timeout_s=60)
        group.wait_until_ready()
        assert running.stop() == 0
    done = times_done(group.server)
    assert sorted(done) == list(range(JOBS))
    assert sum(done.values()) - JOBS <= held
    assert group.beating() == set()


def as_a_terminal_does(running: Running) -> None:
    """The whole process group of the foreground gets Ctrl-C."""
    os.killpg(running.process.pid, signal.SIGINT)


def as_systemd_does(running: Running) -> None:
    """Each process of a service gets SIGTERM."""
    for pid in (running.process.pid, *workers(running)):
        os.kill(pid, signal.SIGTERM)


@pytest.mark.nightly
def test_ctrl_c_while_workers_start_ends_them_without_traceback(group: Group, tmp_path: Path) -> None:
    with started([*group.several.command, "--processes", "2"], directory=tmp_path / "run") as running:
        # In the moment before it has a process group of its own a child is no worker yet, and Ctrl-C ends it.
        until(lambda: [os.getpgid(pid) == pid for pid in children(running)] == [True] * 2, "both are on their way")
        as_a_terminal_does(running)
        assert running.wait() == 0
    assert "Traceback" not in running.output()


@pytest.mark.nightly
@pytest.mark.parametrize("stop", [as_a_terminal_does, as_systemd_does])
def test_every_worker_drains_and_gets_a_stop_once(group: Group, stop: Callable[[Running], None]) -> None:
    group.server.act = answering_after(0.5)
    with group.started("--processes", "2", count=2) as running:
        group.several.push("q", range(40))
        until(lambda: len(group.server.arrivals) >= 2 * CONCURRENCY, "both work")
        stop(running)
        assert running.wait() == 0
        assert not any(map(lives, workers(running)))
    assert group.several.unfinished() == {"q": 40 - len(group.server.arrivals)}
    assert group.beating() == set()


@pytest.mark.nightly
def test_quiet_group_stays_quiet_also_in_a_restarted_worker(group: Group) -> None:
    with group.started("--processes", "2", count=2) as running:
        running.signal(signal.SIGTSTP)
        running.wait_for(r"broker\.quiet", times=2)
        until(lambda: group.ready()[1]["phase"] == "quiet", "the group is quiet")
        _kill(workers(running)[0], signal.SIGKILL)
        running.wait_for(r"broker\.started", times=3, timeout_s=60)
        running.wait_for(r"broker\.quiet", times=3)
        until(lambda: group.ready() == (200, {"ready": True, "phase": "quiet"}), "it is quiet again")
        group.several.push("q", range(3))
        beats = group.several.client.command("HVALS", "restbroker:beats")
        until(lambda: group.several.client.command("HVALS", "restbroker:beats") != beats, "they beat on")
        assert group.several.unfinished() == {"q": 3}
        assert running.stop() == 0


@pytest.mark.nightly
def test_sighup_reloads_all_workers_and_a_refused_file_none(group: Group) -> None:
    group.configure(Processes=2)
    with group.started(count=2) as running:
        group.several.path.write_text('{"Targets": 5}')
        running.signal(signal.SIGHUP)
        running.wait_for(r"config\.refused")
        group.configure(DeadLimit=7, Processes=3)
        running.signal(signal.SIGHUP)
        running.wait_for(r"config\.reloaded", times=2)
        group.several.push("q", range(20))
        group.several.wait_until_finished()
        assert running.stop() == 0
    assert len(re.findall(r"config\.refused", running.output())) == 1
    assert len(re.findall(r"code=NeedsRestart message=\"Processes: ", running.output())) == 1
    assert "WorkerEnded" not in running.output()
    assert "config.unchanged" not in running.output()


@pytest.mark.promise("No command is lost", "workers or their supervisor are killed")
def test_workers_finish_and_end_without_their_supervisor(group: Group) -> None:
    group.server.act = answering_after(1)
    with group.started("--processes", "2", count=2) as running:
        pids = workers(running)
        group.several.push("q", range(40))
        until(lambda: len(group.server.arrivals) >= 2 * CONCURRENCY, "both work")
        running.process.kill()
        until(lambda: not any(map(lives, pids)), "the workers end")
    assert re.findall(r"broker\.stopping worker=\d why=(\".*?\")", running.output()) == ['"the supervisor is gone"'] * 2
    done = times_done(group.server)
    assert set(done.values()) == {1}
    assert group.several.unfinished() == {"q": 40 - len(done)}
    assert group.beating() == set()


@pytest.mark.promise("No command is lost", "workers or their supervisor are killed")
@pytest.mark.nightly
def test_jobs_of_a_group_that_died_are_given_back_soon(group: Group, report: Report) -> None:
    with group.started("--processes", "2", count=2) as running:
        for killed in (1, 2, 3):
            pids = workers(running)
            for pid in pids:
                _kill(pid, signal.SIGKILL)
            running.wait_for(r"broker\.started", times=2 * killed + 2, timeout_s=60)
        group.wait_until_ready()
        group.server.act = answering_after(5)
        group.several.push("q", range(2 * CONCURRENCY))
        until(lambda: len(group.server.arrivals) == 2 * CONCURRENCY, "all are on their way")
        group.server.act = lambda _arrival: 200
        dead, watch = workers(running), Stopwatch.start(running)
        for pid in dead:
            _kill(pid, signal.SIGKILL)
        until(lambda: children(running) - set(dead), "one is started")
        assert watch.took_s() < 8 + 2, "no worker waits longer than 8 s"
        until(lambda: not any(map(group.in_progress, dead)), "their jobs went back")
        took_s = watch.passed_s()
        report(f"jobs of a group that died as a whole for the fourth time were back after {took_s:.2f} s")
        group.several.wait_until_finished()
        assert running.stop() == 0


@pytest.mark.nightly
def test_worker_stopped_in_sidekiq_web_is_started_again(group: Group) -> None:
    """The page of figures shows the jobs in progress."""
    port = free_port()
    group.configure(Stats=True, StatsPort=port, Processes=2)
    release = threading.Event()
    group.server.act = lambda _arrival: 200 if release.wait(60) else 500
    client = group.several.client
    with group.started(count=2) as running:
        group.several.push("q", range(CONCURRENCY))

        def shown() -> list[dict[str, object]]:
            found = page(port, "/stats").json()
            return found["jobs"]["q"] if len(found["processes"]) == 2 else []

        jobs = until(lambda: found if len(found := shown()) == CONCURRENCY else None, "all are shown")
        assert jobs is not None
        assert "check_account" in json.dumps(jobs)
        assert TOKEN not in json.dumps(jobs)
        release.set()
        group.several.wait_until_finished()
        victim = workers(running)[1]
        names = [raw(name).decode() for name in items(client.command("SMEMBERS", "processes"))]
        (name,) = [name for name in names if f":{victim}:" in name]
        client.command("LPUSH", f"{name}-signals", "TERM")
        running.wait_for(rf"Worker \d \(pid {victim}\) was stopped, but not by its supervisor", timeout_s=90)
        running.wait_for(r"broker\.started", times=3, timeout_s=60)
        group.wait_until_ready()
        assert running.stop() == 0


@pytest.mark.nightly
def test_metrics_cover_all_workers_and_no_counter_runs_backwards(group: Group) -> None:
    port = free_port()
    group.configure(Stats=True, StatsPort=port, Processes=2)

    def metrics() -> dict[str, float]:
        families = text_string_to_metric_families(page(port, "/metrics").text)
        return {s.name: s.value for family in families for s in family.samples if s.name.startswith("restbroker_")}

    with group.started(count=2) as running:
        group.several.push("q", range(50))
        group.several.wait_until_finished()
        until(lambda: metrics().get("restbroker_jobs_total") == 50, "all are counted")
        before = metrics()
        assert before["restbroker_workers"] == before["restbroker_workers_wanted"] == 2
        assert (before["restbroker_ready"], before["restbroker_job_duration_seconds_count"]) == (1, 50)
        assert before["restbroker_worker_memory_bytes"] > 1e6
        os.kill(workers(running)[0], signal.SIGKILL)
        running.wait_for(r"broker\.started", times=3, timeout_s=60)
        group.wait_until_ready()
        group.several.push("q", range(50, 60))
        until(lambda: metrics().get("restbroker_jobs_total") == 60, "the others are counted as well")
        assert metrics()["restbroker_worker_starts_total"] == 3
        assert running.stop() == 0


@pytest.mark.nightly
def test_systemd_hears_of_the_group_as_of_one_process(group: Group, tmp_path: Path) -> None:
    with listening(tmp_path / "notify") as (environ, lines, hear):
        with group.started("--processes", "2", count=2, environ=environ) as running:
            hear("READY=1", 1)
            hear("STATUS=Serving.", 1)
            hear("WATCHDOG=1", 3)
            running.signal(signal.SIGHUP)
            hear("RELOADING=1", 1)
            hear("READY=1", 2)
            assert len(re.findall(r"config\.unchanged", running.output())) == 2
            running.signal(signal.SIGTERM)
            hear("STOPPING=1", 1)
            assert running.wait() == 0
        assert lines.count("READY=1") == 2
