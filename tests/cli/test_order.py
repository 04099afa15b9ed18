"""What commands say and push where the jobs of one key are done one after the other."""

import json
from pathlib import Path

from restbroker.store.client import Client
from tests.cli.conftest import Shell


def set_order_by(place: Path, order_by: object, **more: object) -> None:
    document = json.loads((place / "env.json").read_text())
    (place / "env.json").write_text(json.dumps({**document, "OrderBy": order_by, **more}))


def queued(store: Client) -> list[dict[str, object]]:
    raws = store.command("LRANGE", "ns:queue:rest", 0, -1)
    assert isinstance(raws, list)
    return [json.loads(raw) for raw in reversed(raws)]


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
