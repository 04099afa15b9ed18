"""Reads the snapshot that a process writes with each heartbeat: for display, and for code that pushes a job.

Used by the stats, `check`, `stats --watch` and `enqueue`. Always holds: another version may have written it, so every
field may be missing.
"""

from collections.abc import Mapping

from restbroker.job import rubyjson
from restbroker.job.json_types import Json


def takes_jobs(snapshot: Mapping[str, Json]) -> bool:
    """Tell whether a worker pool with this snapshot takes jobs. Its target may be down even so."""
    return snapshot.get("quiet") is not True and snapshot.get("finishing") is not True


def read_snapshot(raw: bytes | None) -> Mapping[str, Json]:
    """Return a worker pool's snapshot from its process's last heartbeat; empty if it cannot be read."""
    return rubyjson.object_of(raw or b"") or {}
