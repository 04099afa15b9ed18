"""How often processes died that had a job in progress: the first field of its payload counts it.

Recovery (`store.heartbeats`) counts a crash, `job.read` reads the count, the worker makes a job dead after
`MOST_CRASHES`, and `explain` and the pages show it. Always holds: what is counted is the job's own, and ends with it; a
count that a producer wrote costs tries, and never gives any; after its first crash a job has its bytes and the count,
no more; from the second one on it waits, is fit to lie in Sidekiq's sets, and equals no other.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from restbroker.job import active_job, rubyjson
from restbroker.job.job import CRASHES_FIELD, MOST_CRASHES, UNCERTAIN_FIELD, crash_count, spare_jid
from restbroker.job.json_types import Json, as_count
from restbroker.job.repair import repair
from restbroker.job.retry import DEFERRED_AT_FIELD, stamp
from restbroker.light import frozen

if TYPE_CHECKING:  # commands that show jobs load little
    from restbroker.job.settlement import OrphanedJob

# Why: docs/design.md#poison
_FIRST_WAIT_S: Final = 20.0
_START: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{(?=\s*")')


@frozen
class Counted:
    """A job's bytes after one more crash, how many crashes that are, and for how many seconds it waits then."""

    raw: bytes
    crashes: int = 0
    waits_s: float = 0.0


def count_crash(orphan: "OrphanedJob", now_s: float, *, in_order: bool, unique: int, jitter: float) -> Counted:
    """Return the job after one more crash; as it was, with a count of 0, if its bytes hold no job.

    `in_order`: it waits in the list of its key, else in a set, and `unique` (microseconds) tells it from equal ones.
    `jitter`: from 0.5 to 1.5. At the last of `MOST_CRASHES` it goes back at once, as it is not sent again; if a process
    dies even so, it waits.
    """
    raw, fields = orphan.raw, rubyjson.object_of(orphan.raw)
    if fields is None:
        return Counted(raw)
    before = crash_count(_first(raw, CRASHES_FIELD)) if CRASHES_FIELD in fields else 0
    crashes = min(before + 1, MOST_CRASHES)
    waits_s = 0.0 if before in (0, MOST_CRASHES - 1) else _FIRST_WAIT_S * 2.0 ** (before - 1) * jitter
    if not waits_s or in_order:
        return Counted(_with_first(raw, fields, CRASHES_FIELD, crashes), crashes, waits_s)
    jid = fields.get("jid")
    named = {**active_job.unwrap(fields), "jid": jid if jid and isinstance(jid, str) else _spare(orphan)}
    waiting = {**repair(named, orphan.queue), DEFERRED_AT_FIELD: stamp(now_s, unique)}
    return Counted(rubyjson.dumps({CRASHES_FIELD: 0, **waiting} | {CRASHES_FIELD: crashes}), crashes, waits_s)


def with_crashes_uncertain(fields: Mapping[str, Json]) -> dict[str, Json]:
    """Return a job's fields without a count of crashes, with as many more uncertain runs, as a settlement writes it."""
    again = dict(fields)
    if crashes := crash_count(again.pop(CRASHES_FIELD, None)):
        again[UNCERTAIN_FIELD] = crashes + as_count(again.get(UNCERTAIN_FIELD))
    return again


def crash_text(crashes: int, wait: str = "") -> str:
    """Return in words that processes died with a job, which waits: "waits 40 s after 3 crashes"."""
    times = f"{crashes} crash{'' if crashes == 1 else 'es'}"
    return f"waits {wait} after {times}" if wait else f"was in progress in {times}"


def with_uncertain_run(raw: bytes) -> bytes:
    """Return the job as one that may have run once, whatever it says; as it was if its bytes hold no job."""
    fields = rubyjson.object_of(raw)
    return raw if fields is None else _with_first(raw, fields, UNCERTAIN_FIELD, 1)


def _with_first(raw: bytes, fields: Mapping[str, Json], name: str, value: int) -> bytes:
    """Return the bytes of a job, which hold these fields, with this one in front, and no other of its name."""
    start = _START.match(raw)
    if name in fields or start is None:
        return rubyjson.dumps({name: value, **{other: fields[other] for other in fields if other != name}})
    return b'%b"%b":%d,%b' % (start[0], name.encode(), value, raw[start.end() :])


def _first(raw: bytes, name: str) -> Json:
    """Return the value of the first of a job's fields of this name, where a parser takes the last."""
    pairs: list[tuple[str, Json]] = json.loads(raw.removeprefix(BOM_UTF8), object_pairs_hook=list)
    return next(value for found, value in pairs if found == name)


def _spare(orphan: "OrphanedJob") -> str:
    return spare_jid(orphan.identity, orphan.ticket)
