"""The record of a finished job: what versions before and after this one write and read of it, and nonsense in it."""

import attrs
import orjson
import pytest

from restbroker.store.history import JobEnd, JobTimes, read, to_record

OLD = b'["j1","ejabberd","register","delivered",200,12.5,null]'
END = JobEnd("j1", "ejabberd", "register", outcome="delivered", status=200, took_ms=12.5)
TIMES = JobTimes(1500, 320, 3, tries=3, failed_ms=(1400, 900))


@pytest.mark.parametrize("times", [TIMES, JobTimes(), JobTimes(answered_ms=0)])
@pytest.mark.parametrize("unmet", [None, "has a tag"])
def test_times_of_a_job_are_read_as_they_were_written(times: JobTimes, unmet: str | None) -> None:
    end = JobEnd("j1", "e", "register", "delivered", 200, 12.5, unmet=unmet, times=times)
    assert read(to_record(end)) == end
    kept = attrs.evolve(end, arguments={"to": "bob@example.org"})
    assert read(to_record(kept)) == kept
    # The version before takes six values behind the code, and leaves out what follows.
    assert orjson.loads(to_record(kept))[:13] == orjson.loads(to_record(end))


def test_a_record_of_an_earlier_version_has_no_times() -> None:
    assert read(OLD) == END


def test_times_stand_behind_what_older_versions_read() -> None:
    """An older version takes the first seven, and the eighth if it is a text."""
    known = orjson.loads(to_record(JobEnd("j1", "e", "register", "delivered", 200, 12.5, times=TIMES)))
    assert known[6:] == [None, None, 1500, 320, 3, 3, [1400, 900]]


@pytest.mark.parametrize(
    ("more", "times"),
    [
        ("null,5,4,3,2,[9],8", JobTimes(5, 4, 3, 2, (9,))),
        ('"unmet",-1,"4",1e9,true,7', JobTimes()),
        ("null,null,null,null,0,[null,-1,7,{}]", JobTimes(failed_ms=(7,))),
        ("null,99999999999999,false,[],{}", JobTimes()),
        ("null,5,4,3", JobTimes(5, 4, 3)),
        ('null,5,4,3,1,[],"to"', JobTimes(5, 4, 3)),
        ('null,5,4,3,1,[],{"to":5}', JobTimes(5, 4, 3)),
    ],
)
def test_nonsense_in_place_of_a_time_is_no_time(more: str, times: JobTimes) -> None:
    found = read(OLD[:-1] + b"," + more.encode() + b"]")
    assert found is not None
    assert (found.jid, found.times, found.arguments) == ("j1", times, {})
