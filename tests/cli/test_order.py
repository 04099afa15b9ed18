"""What commands say and push where the jobs of one key are done one after the other."""

import json
import sys
import time
from pathlib import Path

from restbroker.job.order import Order
from restbroker.job.settlement import Dead, Retry
from restbroker.store import heartbeats
from restbroker.store.client import Client
from restbroker.store.jobs import FetchRequest, FetchResult, FinishRequest, fetch, finish
from restbroker.store.jobs import register as register_identity
from restbroker.store.replies import items, raw
from tests.cli.conftest import Shell
from tests.store.pools import FACTS
from tests.support.terminal import on_a_terminal
from tests.support.tmux import shell as terminal_shell

IDENTITY = "web1:7:abc:ejabberd"


def set_order_by(place: Path, order_by: object, **more: object) -> None:
    document = json.loads((place / "env.json").read_text())
    (place / "env.json").write_text(json.dumps({**document, "OrderBy": order_by, **more}))


def queued(store: Client) -> list[dict[str, object]]:
    raws = items(store.command("LRANGE", "ns:queue:rest", 0, -1))
    return [json.loads(raw(one)) for one in reversed(raws)]


class Broker:
    """Takes jobs of the queue as a process would, where `OrderBy` is "order_key", and settles them."""

    def __init__(self, store: Client) -> None:
        self.store, self.text, self.base = store, Order().text, 0
        assert register_identity(store, IDENTITY, FACTS, ("rest",), fairness=self.text)

    def take(self) -> dict[str, tuple[str, bytes]]:
        """Ticket and bytes of each job that may start, by its id."""
        answer = fetch(
            self.store, FetchRequest(IDENTITY, "ejabberd", ("rest",), self.base, 50, self.base + 50, fairness=self.text)
        )
        assert isinstance(answer, FetchResult)
        self.base += len(answer.jobs)
        return {json.loads(one.raw)["jid"]: (one.ticket, one.raw) for one in answer.jobs}

    def settle(self, ticket: str, by: Dead | Retry) -> None:
        finish(
            self.store,
            FinishRequest(IDENTITY, "ejabberd", ("rest",), 0, [(ticket, by)], fairness=self.text),
            time.time(),
        )


def test_explain_says_behind_which_job_one_waits(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key")
    jids = [shell("enqueue", "status", "--order-key", "bob").stdout.strip() for _ in range(3)]
    broker = Broker(store)
    ((ticket, raw),) = broker.take().values()
    done = shell("explain", jids[2])
    assert "It waits in the queue rest, 3rd of 3 of the key bob." in done.stdout
    assert f"It is held behind {jids[0]} (status) of the key bob, which web1:7 has in progress.\n" in done.stderr
    broker.settle(ticket, Retry(3600.0, raw))
    done = shell("explain", jids[2])
    assert f"It is held behind {jids[0]} (status) of the key bob, which is tried again at 2" in done.stderr
    assert "\nTo try that one now: restbroker order retry-now bob\n" in done.stderr
    (found,) = json.loads(shell("explain", jids[1], "--json").stdout)["places"]
    order = found["order"]
    assert {name: order[name] for name in ("key", "state", "number", "jobs", "jid", "command", "is_own")} == {
        "key": "bob", "state": "due", "number": 2, "jobs": 3, "jid": jids[0], "command": "status", "is_own": False,
    }  # fmt: skip


def test_what_to_do_about_a_job_that_stopped_its_key_is_named_by_explain_and_check(
    shell: Shell, store: Client, place: Path
) -> None:
    set_order_by(place, "order_key")
    assert "OrderStopped" not in shell("check").stdout
    words = ["send_message", "type=chat", "from=a@b.c", "to=d@b.c", "subject=", "body=x"]
    ann, bob = (shell("enqueue", *words, "--order-key", key).stdout.strip() for key in ("ann", "bob"))
    broker = Broker(store)
    taken = broker.take()
    ticket, raw = taken[ann]
    broker.settle(ticket, Dead(time.time(), raw, effect="stop"))
    ticket, raw = taken[bob]
    may_have_run = json.dumps({**json.loads(raw), "restbroker_uncertain": 1}).encode()
    broker.settle(ticket, Dead(time.time(), may_have_run, effect="stop"))
    told = shell("explain", ann).stderr
    assert told.startswith(
        "It stopped the key ann: 0 jobs wait behind it.\nTo retry it: restbroker order resume ann\n"
        "To go on without it: restbroker order skip ann\nTo change "
    )
    assert "dead retry" not in told
    told = shell("explain", bob).stderr
    assert "check on the server whether it was done. If it was not, add --repeat-unsafe to `order resume`.\n" in told
    assert "NAME=VALUE --retry --repeat-unsafe\n" in told
    found = next(line for line in shell("check").stdout.splitlines() if "OrderStopped" in line).split("\t")
    assert found[:3] == ["warning", "redis", "OrderStopped"]
    assert found[3].startswith("2 keys of the target ejabberd are stopped, the first for ")
    store.command("ZADD", "ns:dead", time.time(), may_have_run.replace(bob.encode(), b"x" * 24))
    told = shell("explain", "x" * 24).stderr
    assert told.startswith(
        "It may have run, and may not be safe to repeat: check on the server whether it was done. If it"
    )
    assert f"was not: restbroker dead retry {'x' * 24} --repeat-unsafe\n" in told
    store.command("ZADD", "ns:retry", time.time() + 99, may_have_run.replace(bob.encode(), b"{y}"))
    told = shell("explain", "{y}").stderr
    assert told.startswith("To try it now: restbroker retries retry {y}. To stop trying")
    assert "check on the server whether it was done. If it was not, add --repeat-unsafe to `retry`.\n" in told


def test_who_deletes_the_dead_job_that_stopped_a_key_reads_that_the_key_is_still_stopped(
    shell: Shell, store: Client, place: Path
) -> None:
    set_order_by(place, "order_key")
    ann, bob = (shell("enqueue", "status", "--order-key", key).stdout.strip() for key in ("a nn", "bob"))
    broker = Broker(store)
    taken = broker.take()
    for jid, effect in ((ann, "stop"), (bob, "")):
        ticket, raw = taken[jid]
        broker.settle(ticket, Dead(time.time(), raw, effect=effect))  # type: ignore[arg-type]
    assert shell("dead", "delete", bob, "--yes").stderr == "1 job deleted.\n"
    assert "the key a nn still wait. To have them done: restbroker order skip 'a nn'\n" in (
        shell("dead", "delete", ann, "--yes").stderr
    )


def test_stats_on_a_terminal_and_the_live_screen_say_that_keys_are_stopped_and_what_to_do(
    shell: Shell, store: Client, place: Path
) -> None:
    set_order_by(place, "order_key")
    shell("enqueue", "status", "--order-key", "bob")
    broker = Broker(store)
    heartbeats.write_heartbeats(store, [(IDENTITY, 1)], {IDENTITY: b'{"gate": "open"}'})
    ((ticket, raw),) = broker.take().values()
    text = "ejabberd has stopped keys (1 key): jobs behind a dead one wait"
    hint = "`restbroker order` shows them; `order resume` retries the dead job, `order skip` goes on without it."
    assert text not in on_a_terminal(["stats"], place, columns=140)
    broker.settle(ticket, Dead(time.time(), raw, effect="stop"))
    assert text in on_a_terminal(["stats"], place, columns=140)
    with terminal_shell(place, columns=200) as pane:
        pane.type(f"{sys.executable} -m restbroker stats --watch --every 200ms")
        pane.shows(f"!! {text}. {hint}")


def test_without_held_keys_order_says_so(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key")
    assert shell("order").stderr == "No key is held.\n"
    shell("enqueue", "status", "--order-key", "bob")
    Broker(store).take()
    assert shell("order").stderr == "1 of 1 key. All others are free.\n"


def test_who_waits_for_an_answer_reads_what_holds_the_job(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key")
    first = shell("enqueue", "status", "--order-key", "bob").stdout.strip()
    broker = Broker(store)
    ((ticket, raw),) = broker.take().values()
    held = f"held behind {first} (status) of the key bob, which "
    done = shell("enqueue", "status", "--order-key", "bob", "--wait", "--timeout", "1s")
    assert done.returncode == 6
    assert f"It is {held}web1:7 has in progress.\n" in done.stderr
    broker.take()
    broker.settle(ticket, Dead(time.time(), raw, effect="stop"))
    done = shell("enqueue", "status", "--order-key", "bob", "--wait", "--timeout", "1s")
    assert f"It is {held}died at 2" in done.stderr
    assert "restbroker order skip bob\n" in done.stderr
    broker.take()
    done = shell("enqueue", "status", "--order-key", "bob", "--wait", "--timeout", "1s")
    jid = done.stderr.partition("The job ")[2][:24]
    broker.take()
    assert f"The job {jid} is not done after 1 s" in done.stderr
    # Others of the key do not hold it up.
    done = shell("enqueue", "status", "--order-key", "alice", "--wait", "--timeout", "1s")
    assert "held behind" not in done.stderr


def test_who_waits_for_a_batch_reads_which_jobs_hold_it(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key")
    (place / "rows.csv").write_text("user,host,_order_key\na,h,bob\nb,h,bob\nc,h,free\n")
    first = shell("enqueue", "status", "--order-key", "bob").stdout.strip()
    shell("enqueue", "status", "--order-key", "other")
    broker = Broker(store)
    taken = broker.take()
    broker.settle(taken[first][0], Dead(time.time(), taken[first][1], effect="stop"))
    shell("enqueue", "check_account", "--bulk", "rows.csv", "--wait", "--timeout", "50ms")
    broker.take()
    done = shell("enqueue", "check_account", "--bulk", "rows.csv", "--wait", "--timeout", "4s")
    assert f"Jobs are held behind {first} (status) of the key bob, which died at 2" in done.stderr
    assert "\nTo retry that one: restbroker order resume bob\n" in done.stderr
    assert done.stderr.count("held behind") == 1


def test_what_waits_with_all_keys_is_counted_in_a_few_round_trips(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key")
    held = [part for number in range(300) for part in (f"k{number}", "s 5 0 5 j -")]
    lines = [part for number in range(300) for part in (f"k{number}", "6 8")]
    store.command("HSET", "ns:restbroker:order:hold:ejabberd", *held)
    store.command("HSET", "ns:restbroker:fair:keys:rest", *lines)
    store.command(
        "HSET", "ns:restbroker:fair:wait:rest", *(x for n in range(300) for x in (f"6:k{n}", b"{}", f"7:k{n}", b"{}"))
    )
    store.command("CONFIG", "RESETSTAT")
    assert shell("order", "drop", "--all", "--dry-run").stderr == "600 jobs would die.\n"
    asked = raw(store.command("INFO", "commandstats")).decode()
    assert "cmdstat_hmget:calls=1," in asked


def test_rows_of_a_file_have_order_keys_of_their_own(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key")
    (place / "rows.csv").write_text("user,host,_order_key\na,h,k1\nb,h,\nc,h,k2\n")
    done = shell("enqueue", "check_account", "--bulk", "rows.csv", "--order-key", "rest")
    assert (done.returncode, "has no effect" in done.stderr) == (0, False), done.stderr
    assert [job["order_key"] for job in queued(store)] == ["k1", "rest", "k2"]


def test_a_row_whose_order_key_cannot_be_one_is_rejected_alone(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key")
    keys = (5, "k" * 257, "a\0b", "a\nb", ["k"], None, "k" * 256)
    rows = [json.dumps({"user": "d", "host": "h", "_order_key": key}) + "\n" for key in keys]
    (place / "rows.ndjson").write_text("".join(rows))
    done = shell("enqueue", "check_account", "--bulk", "rows.ndjson")
    assert done.returncode == 7
    assert done.stderr.count('"_order_key" takes a string of 1 to 256 bytes without control characters.') == 5
    assert [job.get("order_key") for job in queued(store)] == [None, "k" * 256]
