"""A job counts the crashes in which it was in progress, in its first field, whatever a producer wrote there."""

import json
from typing import Any, Final

import pytest

from restbroker.job import rubyjson
from restbroker.job.crashes import Counted, count_crash, crash_text, with_crashes_uncertain, with_uncertain_run
from restbroker.job.job import Job, read
from restbroker.job.json_types import Json
from restbroker.job.repair import repair
from restbroker.job.settlement import OrphanedJob
from tests.support.active_job import RECORDED, recorded
from tests.support.rows import rows

NOW_S: Final = 1_795_380_927.25
README: Final = b'{"class": "Add", "args": ["check_account", {"user": "u"}, "t"], "jid": "j"}'
"""As README's example pushes it: it names no queue."""


def crash(raw: bytes, *, in_order: bool = False, number: int = 7, jitter: float = 1.0) -> Counted:
    orphan = OrphanedJob("h:1:life:t", f"{number}:1", "rest", raw)
    return count_crash(orphan, NOW_S, in_order=in_order, unique=number, jitter=jitter)


def crashes(raw: bytes, *, in_order: bool = False, times: int = 6) -> list[Counted]:
    found = [crash(raw, in_order=in_order)]
    while len(found) < times:
        found.append(crash(found[-1].raw, in_order=in_order))
    return found


@rows("in_order", [True, False])
def test_waits_double_from_the_second_crash_on_up_to_the_sixth(*, in_order: bool) -> None:
    found = crashes(README, in_order=in_order, times=8)
    assert [crashed.crashes for crashed in found] == [1, 2, 3, 4, 5, 6, 6, 6]
    assert [crashed.waits_s for crashed in found] == [0, 20, 40, 80, 160, 0, 640, 640]
    assert [crash(found[0].raw, jitter=jitter).waits_s for jitter in (0.5, 1.5)] == [10, 30]
    names = [next(iter(json.loads(crashed.raw))) for crashed in found]
    assert names == ["restbroker_crashes"] * 8


@rows("raw", [README, b'\xef\xbb\xbf {\n "a":1.0,"b":"\\u0041"}', b'{"class":"Add","n":1e14}', recorded(RECORDED[0])])
def test_after_its_first_crash_a_job_has_its_bytes_and_the_count(raw: bytes) -> None:
    counted = crash(raw).raw
    assert counted.replace(b'"restbroker_crashes":1,', b"", 1) == raw
    assert rubyjson.loads(counted) == {"restbroker_crashes": 1, **(rubyjson.object_of(raw) or {})}


@rows("raw", [README, b'{"class":"Add","args":"[]"}', b'{"x":1,"tags":5,"queue":"other","at":"soon"}', b"{}",
              *map(recorded, RECORDED)])  # fmt: skip
def test_a_waiting_job_is_fit_for_a_set_and_returns_to_its_queue(raw: bytes) -> None:
    counted = crash(crash(raw).raw)
    fields = json.loads(counted.raw)
    assert counted.waits_s
    assert repair(fields, "rest") == fields
    assert fields["jid"]
    entry = read(counted.raw, "rest", "spare")
    assert isinstance(entry, Job)
    was = read(raw, "rest", "spare")
    assert isinstance(was, Job)
    assert entry.fields.get("args") == repair(was.fields, "rest")["args"]


@pytest.mark.promise("No command is lost", "equal jobs wait after crashes: each stays itself")
def test_jobs_that_are_equal_byte_by_byte_wait_as_different_ones() -> None:
    counted = crash(README).raw
    one, other = (crash(counted, number=number).raw for number in (1, 2))
    assert one != other
    assert json.loads(one)["jid"] == json.loads(other)["jid"] == "j"


@rows("forged", [0, 7, -1000000, 9999999, "5", None, True, 2.0, [3], {"restbroker_crashes": 3}])
def test_a_forged_count_gives_no_try_and_goes_at_the_next_crash(forged: Json) -> None:
    first = {"restbroker_crashes": forged, "class": "Add"}
    last = {"class": "Add", "restbroker_crashes": forged}
    for fields in (first, last):
        assert crash(rubyjson.dumps(fields)).raw == b'{"restbroker_crashes":1,"class":"Add"}'
        assert [crashed.crashes for crashed in crashes(rubyjson.dumps(fields))] == [1, 2, 3, 4, 5, 6]


@rows(("raw", "count"), [
    (b'{"restbroker_crashes" : 5 , "class":"Add"}', 6), (b'{"restbroker_crashes":5,"restbroker_crashes":0}', 6),
    (b'{"retry":true,"queue":"rest","restbroker_crashes":3}', 4), (b'{"restbroker\\u005fcrashes":5,"a":1}', 6),
    (b'{"restbroker_crashes":0,"a":1,"restbroker\\u005fcrashes":5}', 1),
    (b'{"a":{"restbroker_crashes":5}}', 1),
])  # fmt: skip
def test_only_the_first_of_several_counts_is_taken_for_one(raw: bytes, count: int) -> None:
    counted = crash(raw)
    pairs: list[tuple[str, Any]] = json.loads(counted.raw, object_pairs_hook=list)
    assert [value for name, value in pairs if name == "restbroker_crashes"] == [count]
    assert counted.crashes == count


@rows("raw", [b"", b"5", b"[]", b"null", b"\xff", b"{x", b'{"a":NaN}'])
def test_bytes_that_are_no_job_count_nothing(raw: bytes) -> None:
    assert crash(raw) == Counted(raw)
    assert with_uncertain_run(raw) == raw


def test_a_job_of_another_program_may_have_run_whatever_it_says() -> None:
    assert with_uncertain_run(README) == b'{"restbroker_uncertain":1,' + README[1:]
    forged = with_uncertain_run(b'{"class":"Add","restbroker_uncertain":0}')
    assert forged == b'{"restbroker_uncertain":1,"class":"Add"}'


def test_crashes_become_uncertain_runs_once_a_job_is_written_anew() -> None:
    assert with_crashes_uncertain({"restbroker_crashes": 3, "a": 1}) == {"a": 1, "restbroker_uncertain": 3}
    assert with_crashes_uncertain({"restbroker_crashes": 3, "restbroker_uncertain": 2}) == {"restbroker_uncertain": 5}
    assert with_crashes_uncertain({"restbroker_crashes": -3, "restbroker_uncertain": 2}) == {"restbroker_uncertain": 2}


def test_crashes_are_told_in_words() -> None:
    assert crash_text(3, "40 s") == "waits 40 s after 3 crashes"
    assert crash_text(1) == "was in progress in 1 crash"
