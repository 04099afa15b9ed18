"""What `run` does around the broker itself."""

import gc
import json
from pathlib import Path

import pytest

from restbroker.app import build
from restbroker.broker import broker
from restbroker.broker.broker import BrokerEnd
from restbroker.config.load import load
from restbroker.servers import registry


def test_full_collections_leave_out_what_was_loaded_before_the_broker_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "env.json"
    path.write_text(json.dumps({"RestQueue": "rest", "Token": "t", "Stats": False}))
    found = load(path, {}, {}, registry.kinds())
    left_out = 0

    async def look(*_: object) -> BrokerEnd:
        nonlocal left_out
        left_out = gc.get_freeze_count()
        return BrokerEnd(clean=True, second_signal=None)

    monkeypatch.setattr(broker, "run", look)
    try:
        build.run(found.config, lambda: found)
    finally:
        gc.unfreeze()
    assert left_out > 10_000
