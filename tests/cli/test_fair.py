"""What commands say of a queue whose jobs take turns, and of one whose jobs could."""

import json
from pathlib import Path

from restbroker.store.client import Client
from restbroker.store.replies import items, raw
from tests.cli.conftest import Shell


def set_fair_by(place: Path, fair_by: object) -> None:
    document = json.loads((place / "env.json").read_text())
    (place / "env.json").write_text(json.dumps({**document, "FairBy": fair_by}))


def queued(store: Client) -> list[dict[str, object]]:
    jobs = items(store.command("LRANGE", "ns:queue:rest", 0, -1))
    return [json.loads(raw(job)) for job in reversed(jobs)]


def test_rows_of_a_file_have_fair_keys_of_their_own(shell: Shell, store: Client, place: Path) -> None:
    vain = shell("enqueue", "check_account", "--bulk", "none.csv", "--fair-key", "rest")
    assert "note: --fair-key has no effect" in vain.stderr
    set_fair_by(place, "fair_key")
    (place / "rows.csv").write_text("user,host,_fair_key\na,h,k1\nb,h,\nc,h,k2\n")
    done = shell("enqueue", "check_account", "--bulk", "rows.csv", "--fair-key", "rest")
    assert done.returncode == 0, done.stderr
    assert "has no effect" not in done.stderr
    assert [job["fair_key"] for job in queued(store)] == ["k1", "rest", "k2"]
    (place / "rows.ndjson").write_text(
        "".join(json.dumps({"user": "d", "host": "h", "_fair_key": key}) + "\n" for key in (5, "k" * 300, None, "k"))
    )
    done = shell("enqueue", "check_account", "--bulk", "rows.ndjson")
    assert (done.returncode, '"_fair_key" takes a string of 1 to 256 bytes' in done.stderr) == (7, True)
    assert [job.get("fair_key") for job in queued(store)[3:]] == [None, "k"]
