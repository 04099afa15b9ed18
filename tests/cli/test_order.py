"""What commands say and push where the jobs of one key are done one after the other."""

import json
import time
from pathlib import Path

from restbroker.job.order import Order
from restbroker.job.settlement import Dead, Retry
from restbroker.store.client import Client
from restbroker.store.jobs import FetchRequest, FetchResult, FinishRequest, fetch, finish
from restbroker.store.jobs import register as register_identity
from restbroker.store.replies import items, raw
from tests.cli.conftest import Shell
from tests.store.pools import FACTS

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
    assert "\nTo try that one now: restbroker keys retry bob\n" in done.stderr
    (found,) = json.loads(shell("explain", jids[1], "--json").stdout)["places"]
    order = found["order"]
    assert {name: order[name] for name in ("key", "state", "number", "jobs", "jid", "command", "is_own")} == {
        "key": "bob", "state": "due", "number": 2, "jobs": 3, "jid": jids[0], "command": "status", "is_own": False,
    }  # fmt: skip


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
    assert "the key a nn still wait. To have them done: restbroker keys skip 'a nn'\n" in (
        shell("dead", "delete", ann, "--yes").stderr
    )


def test_a_held_key_is_listed_and_retried(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key", OnDead="stop")
    jids = [shell("enqueue", "status", "--order-key", "bob").stdout.strip() for _ in range(2)]
    broker = Broker(store)
    ((ticket, raw),) = broker.take().values()
    broker.settle(ticket, Retry(3600.0, raw))
    assert shell("keys").stdout.split("\t")[:4] == ["ejabberd", "bob", "due", "2"]
    assert [line.split("\t")[1] for line in shell("keys", "show", "bob").stdout.splitlines()] == jids
    assert "The key is put off, not stopped." in shell("keys", "skip", "bob", "--yes").stderr
    assert shell("keys", "retry", "bob").stderr == "Its next job is tried now.\n"
    ((ticket, raw),) = broker.take().values()
    broker.settle(ticket, Dead(time.time(), raw, effect="stop"))
    assert shell("keys", "retry", "bob", "--dry-run").stderr == f"The job {jids[0]} would be retried.\n"
    assert json.loads(shell("keys", "skip", "bob", "--yes", "--json").stdout) == {
        "key": "bob", "count": 1, "dry_run": False,
    }  # fmt: skip


def test_keys_in_the_lines_of_a_queue_are_shown_and_dropped(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key")
    for _ in range(3):
        assert shell("enqueue", "status", "--order-key", "bob").returncode == 0
    Broker(store).take()
    assert shell("keys", "list", "--queue", "rest").stdout.split("\t")[:4] == ["bob", "2", "1", "1.0000"]
    assert shell("keys", "list", "--queue", "rest", "--target", "ejabberd").returncode == 2
    assert shell("keys", "drop", "--all", "--queue", "rest", "--yes").returncode == 2
    assert shell("keys", "drop", "bob", "--queue", "rest", "--yes").stderr == "2 jobs were deleted from rest.\n"


def test_who_waits_for_an_answer_reads_what_holds_the_job(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key")
    first = shell("enqueue", "status", "--order-key", "bob").stdout.strip()
    broker = Broker(store)
    broker.take()
    held = f"held behind {first} (status) of the key bob, which "
    done = shell("enqueue", "status", "--order-key", "bob", "--wait", "--timeout", "100ms")
    assert done.returncode == 6
    assert f"It is {held}web1:7 has in progress.\n" in done.stderr
    # Others of the key do not hold it up.
    done = shell("enqueue", "status", "--order-key", "alice", "--wait", "--timeout", "100ms")
    assert "held behind" not in done.stderr


def test_rows_of_a_file_have_order_keys_of_their_own(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key")
    (place / "rows.csv").write_text("user,host,_order_key\na,h,k1\nb,h,\nc,h,k2\n")
    done = shell("enqueue", "check_account", "--bulk", "rows.csv", "--order-key", "rest")
    assert (done.returncode, "has no effect" in done.stderr) == (0, False), done.stderr
    assert [job["order_key"] for job in queued(store)] == ["k1", "rest", "k2"]


def test_rows_are_pushed_in_order_or_not_at_all(shell: Shell, store: Client, place: Path) -> None:
    """Without `OrderBy` they would be done side by side, which their order key says must not be."""
    (place / "rows.csv").write_text("user,host\na,h\n")
    (place / "keys.csv").write_text("user,host,_order_key\na,h,k\n")
    (place / "rows.ndjson").write_text('{"command":"kick_user","user":"a","host":"h","_order_key":"k"}\n')
    for words in (
        ["kick_user", "--bulk", "rows.csv", "--order-key", "k"],
        ["kick_user", "--bulk", "keys.csv"],
        ["-", "--bulk", "rows.ndjson", "--order-key", "k"],
    ):
        done = shell("enqueue", *words)
        assert (done.returncode, queued(store)) == (2, [])
        assert 'ejabberd keeps no order of these keys: it has no "OrderBy": "order_key".' in done.stderr
    done = shell("enqueue", "-", "--bulk", "rows.ndjson")
    assert (done.returncode, queued(store)) == (1, [])
    assert "line 1: the target ejabberd keeps no order of these keys" in done.stderr


def test_a_row_whose_order_key_cannot_be_one_is_rejected_alone(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key")
    keys = (5, "k" * 257, "a\0b", "a\nb", ["k"], None, "k" * 256)
    rows = [json.dumps({"user": "d", "host": "h", "_order_key": key}) + "\n" for key in keys]
    (place / "rows.ndjson").write_text("".join(rows))
    done = shell("enqueue", "check_account", "--bulk", "rows.ndjson")
    assert done.returncode == 7
    assert done.stderr.count('"_order_key" takes a string of 1 to 256 bytes without control characters.') == 5
    assert [job.get("order_key") for job in queued(store)] == [None, "k" * 256]
