"""Ruby's Sidekiq::ProcessSet, Process and Workers (6.4.1) on a running broker: what they show of it and ask it for."""

import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from restbroker.store.client import integer, items, mapping, raw, text
from tests.support.process import Running
from tests.support.scripted import CONCURRENCY, QUEUE, RECORD_TTL_S, Citizen, job
from tests.support.several import target
from tests.support.shared import TOKEN
from tests.support.wait import until

PASSWORD = "correct horse battery"
NEW_PASSWORD = "staple of the test"


def only_process(citizen: Citizen, broker: Running) -> dict[str, Any]:
    """What Ruby shows of this broker, which is the only process."""
    identity = citizen.identity(broker)
    (shown,) = citizen.ask("processes.rb")["processes"]
    assert isinstance(shown, dict)
    assert shown["identity"] == identity
    return shown


def busy(citizen: Citizen, *payloads: bytes) -> tuple[Running, str]:
    """A broker that shows these jobs in progress, and its name."""
    broker = citizen.start()
    citizen.push(*payloads)
    citizen.wait_until_sent(len(payloads))
    identity = citizen.identity(broker)
    citizen.wait_until_recorded(identity, "busy", str(len(payloads)))
    return broker, identity


def everything_of(citizen: Citizen, identity: str) -> str:
    """All that Redis has under keys that begin with a process' name, and the list of processes, as one text."""
    found = [f"processes {citizen.listed()}"]
    for key in items(citizen.client.command("KEYS", f"{identity}*")):
        fields = mapping(citizen.client.command("HGETALL", raw(key)))
        found += [f"{text(key)} {name} {value.decode()}" for name, value in fields.items()]
    return "\n".join(found)


def assert_gone(citizen: Citizen, identity: str) -> None:
    """Nothing of a process is left in Redis."""
    assert citizen.listed() == []
    assert citizen.client.command("KEYS", f"{identity}*") == []
    assert citizen.ask("processes.rb")["size"] == 0


@pytest.mark.promise("Sidekiq: the process record", "every field that Ruby shows")
@pytest.mark.promise("Sidekiq: the process record", "memory and round trip")
def test_our_process_has_every_field_that_ruby_shows(citizen: Citizen) -> None:
    began_s = time.time()
    broker = citizen.start()
    identity = citizen.identity(broker)
    until(lambda: citizen.record(identity).get("rtt_us") != "0", "the second record says how long the first took")
    shown = only_process(citizen, broker)
    assert shown["hostname"] == socket.gethostname()
    assert shown["pid"] == broker.process.pid
    assert shown["tag"] == "restbroker"
    assert shown["concurrency"] == CONCURRENCY
    assert shown["queues"] == [QUEUE]
    assert shown["labels"] == ["ejabberd"]
    assert re.fullmatch(r"restbroker \d.*", shown["version"])
    assert shown["embedded"] is False
    assert began_s <= shown["started_at"] <= shown["beat"] <= time.time()
    assert (shown["busy"], shown["quiet"], shown["stopping"]) == (0, "false", False)
    assert shown["identity"].startswith(f"{socket.gethostname()}:{broker.process.pid}:")
    status = Path(f"/proc/{broker.process.pid}/status").read_text(encoding="ascii").splitlines()
    (resident,) = (int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    assert shown["rss"] == pytest.approx(resident, rel=0.2)
    assert 0 < shown["rtt_us"] < 1_000_000


@pytest.mark.promise("Sidekiq: the process record", "several queues and capsules")
@pytest.mark.nightly
def test_process_with_two_targets_shows_both_queues_and_workers(citizen: Citizen) -> None:
    citizen.configure(Targets={"second": target(citizen.server.port, "other", Concurrency=3)})
    shown = only_process(citizen, citizen.start())
    assert sorted(shown["queues"]) == sorted([QUEUE, "other"])
    assert sorted(shown["labels"]) == ["ejabberd", "second"]
    assert shown["concurrency"] == CONCURRENCY + 3
    assert citizen.ask("processes.rb")["total_concurrency"] == CONCURRENCY + 3


@pytest.mark.promise("Sidekiq: the process record", "jobs in progress")
@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@pytest.mark.promise("Sidekiq: the process record", "without token and passwords")
def test_running_jobs_show_their_queue_time_and_command(citizen: Citizen) -> None:
    """Under the keys of older and of newer versions; no secret of theirs is in any field of the record."""
    began_s = int(time.time())
    _, identity = busy(
        citizen,
        job("hangs1", command="register", arguments={"password": PASSWORD}),
        job("hangs2", command="change_password", arguments={"newpass": NEW_PASSWORD}),
        job("hangs3", arguments={"note": TOKEN}, tags=[TOKEN], display_class=TOKEN, error_message=f"{TOKEN}: no"),
    )
    found = citizen.ask("processes.rb")
    assert found["workers_size"] == len(found["workers"]) == 3
    assert [process["busy"] for process in found["processes"]] == [3]
    shown = {worker["display_class"]: worker for worker in found["workers"]}
    assert shown.keys() == {"register", "change_password", "***"}
    assert len({worker["tid"] for worker in found["workers"]}) == 3
    for worker in found["workers"]:
        assert (worker["identity"], worker["queue"]) == (identity, QUEUE)
        assert isinstance(worker["run_at"], int)
        assert began_s <= worker["run_at"] <= time.time()
        assert worker["payload"]["queue"] == QUEUE
    arguments = {"user": "hangs1", "host": "example.org", "password": "***"}
    assert shown["register"]["display_args"] == ["register", arguments, "***"]
    stored = everything_of(citizen, identity)
    assert stored.count("hangs1") == stored.count("hangs2") == stored.count("hangs3") == 2
    assert not [secret for secret in (TOKEN, PASSWORD, NEW_PASSWORD) if secret in stored]
    older, newer = (mapping(citizen.client.command("HGETALL", f"{identity}:{key}")) for key in ("workers", "work"))
    assert older == newer
    citizen.script.released.set()
    citizen.wait_until_recorded(identity, "busy", "0")
    assert citizen.ask("processes.rb")["workers"] == []


@pytest.mark.promise("Sidekiq: remote control", "Quiet (TSTP)")
@pytest.mark.nightly
@pytest.mark.parametrize("how", ["Ruby", "a signal"])
def test_quiet_takes_no_more_jobs_and_finishes_running_ones(citizen: Citizen, how: str) -> None:
    broker, identity = busy(citizen, job("hangs1"))
    if how == "Ruby":
        citizen.ask("processes.rb", call="quiet!")
    else:
        broker.signal(signal.SIGTSTP)
    assert "restart" in broker.wait_for(r"broker\.quiet.*").group()
    citizen.wait_until_recorded(identity, "quiet", "true")
    assert only_process(citizen, broker)["stopping"] is True
    citizen.push(job("good1"))
    citizen.script.released.set()
    citizen.wait_until_recorded(identity, "busy", "0")
    assert citizen.queued() == 1
    assert citizen.times_sent() == {"hangs1": 1}
    assert broker.stop() == 0
    assert citizen.queued() == 1


@pytest.mark.promise("Sidekiq: remote control", "Stop (TERM)")
@pytest.mark.promise("Sidekiq: the process record", "gone after a clean exit")
@pytest.mark.parametrize("how", ["Ruby", pytest.param("a signal", marks=pytest.mark.nightly)])
def test_stop_drains_and_shows_the_process_as_stopping(citizen: Citizen, how: str) -> None:
    broker, identity = busy(citizen, job("hangs1"))
    if how == "Ruby":
        citizen.ask("processes.rb", call="stop!")
    else:
        broker.signal(signal.SIGTERM)
    broker.wait_for(r"broker\.stopping")
    citizen.wait_until_recorded(identity, "quiet", "true")
    shown = only_process(citizen, broker)
    assert (shown["stopping"], shown["busy"]) == (True, 1)
    until(lambda: float(citizen.record(identity)["beat"]) > shown["beat"], "it is kept up while the broker drains")
    citizen.push(job("good1"))
    citizen.script.released.set()
    assert broker.wait() == 0
    assert citizen.times_sent() == {"hangs1": 1}
    assert citizen.queued() == 1
    assert_gone(citizen, identity)


@pytest.mark.promise("Sidekiq: remote control", "Stop again: nothing more")
@pytest.mark.nightly
def test_second_stop_does_not_cut_off_what_runs(citizen: Citizen) -> None:
    broker, identity = busy(citizen, job("hangs1"))
    for _ in range(2):
        citizen.ask("processes.rb", call="stop!")
    citizen.wait_until_recorded(identity, "quiet", "true")
    wanted = f"{identity}-signals"
    until(lambda: citizen.client.command("LLEN", wanted) == 0, "both requests are taken")
    citizen.ask("processes.rb", call="stop!")
    until(lambda: citizen.client.command("LLEN", wanted) == 0, "and a third")
    citizen.script.released.set()
    assert broker.wait() == 0
    assert citizen.times_sent() == {"hangs1": 1}
    assert citizen.members("retry") == []
    assert_gone(citizen, identity)


@pytest.mark.promise("Sidekiq: remote control", "dump_threads")
@pytest.mark.nightly
def test_dump_threads_prints_every_task_and_the_broker_goes_on(citizen: Citizen) -> None:
    broker = citizen.start()
    identity = citizen.identity(broker)
    citizen.ask("processes.rb", call="dump_threads")
    for task in ("Worker", "Acker", "Intake", "Heartbeat", "Reaper", "Scheduler"):
        broker.wait_for(rf"{task}.*\.py:\d+")
    citizen.push(job("good1"))
    citizen.wait_until_sent(1)
    assert citizen.record(identity)["quiet"] == "false"
    assert broker.stop() == 0


@pytest.mark.promise("Sidekiq: remote control", "one request a heartbeat")
@pytest.mark.nightly
def test_successive_requests_are_all_followed(citizen: Citizen) -> None:
    broker = citizen.start()
    identity = citizen.identity(broker)
    for call in ("dump_threads", "quiet!", "stop!"):
        citizen.ask("processes.rb", call=call)
    assert broker.wait() == 0
    broker.wait_for(r"Acker.*\.py:\d+")
    broker.wait_for(r"broker\.quiet")
    assert_gone(citizen, identity)


@pytest.mark.promise("Sidekiq: the process record", "gone a minute after a kill")
@pytest.mark.nightly
def test_a_killed_process_is_shown_for_a_minute_at_most(citizen: Citizen) -> None:
    broker, identity = busy(citizen, job("hangs1"))
    os.kill(broker.process.pid, signal.SIGKILL)
    broker.process.wait()
    for key in (identity, f"{identity}:work", f"{identity}:workers"):
        assert 0 < integer(citizen.client.command("TTL", key)) <= RECORD_TTL_S
    assert [process["busy"] for process in citizen.ask("processes.rb")["processes"]] == [1]
    # What Redis does when the minute is over.
    citizen.client.command("UNLINK", identity, f"{identity}:work", f"{identity}:workers")
    assert citizen.ask("processes.rb")["size"] == 0


@pytest.mark.promise("No command is lost", "Sidekiq cleans its list of processes")
@pytest.mark.promise("Sidekiq: the process record", "gone a minute after a kill")
@pytest.mark.nightly
def test_jobs_of_killed_process_return_after_ruby_pruned_it(citizen: Citizen) -> None:
    killed, identity = busy(citizen, job("hangs1"), job("hangs2"))
    killed.signal(signal.SIGKILL)
    killed.process.wait()
    citizen.client.command("UNLINK", identity, f"{identity}:work", f"{identity}:workers")
    assert citizen.ask("processes.rb", cleanup=False)["size"] == 1
    assert citizen.ask("processes.rb")["size"] == 0
    assert citizen.in_progress() == 2
    citizen.script.released.set()
    citizen.start()
    citizen.wait_until_sent(4)
    citizen.wait_until_idle()
    assert citizen.times_sent() == {"hangs1": 2, "hangs2": 2}
    assert citizen.size("retry") == citizen.size("dead") == 0


@pytest.mark.promise("Sidekiq: the process record", "gone a minute after a kill")
@pytest.mark.nightly
def test_process_pruned_by_ruby_is_back_with_its_next_record(citizen: Citizen) -> None:
    broker, identity = busy(citizen, job("hangs1"))
    citizen.client.command("UNLINK", identity)
    citizen.ask("processes.rb")
    assert citizen.identity(broker) == identity
    citizen.wait_until_recorded(identity, "busy", "1")
    citizen.script.released.set()
    citizen.wait_until_idle()
    assert citizen.times_sent() == {"hangs1": 1}
