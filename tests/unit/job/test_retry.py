"""Sidekiq's rules for failures; the tables are what 6.4.1 and 8.1.7 did with such payloads."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import retry, rubyjson
from restbroker.job.backoff import ExponentialBackoff, SidekiqBackoff, delay_s
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Rejected
from restbroker.job.retry import FailedTry, RetryRule
from restbroker.job.settle import postpone, settle
from restbroker.job.settlement import Dead, Retry, Schedule
from tests.sidekiq.readers import READERS
from tests.support.rows import rows
from tests.support.settling import WHY, context, read_again

NOW_S = 1_700_000_000.25

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["[1]", "2006-01-02 15:04:05 UTC", 1700000000123, 1700000000, -1, 0]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "class args jid queue retry retry_for retry_queue retry_count dead failed_at retried_at created_at enqueued_at at "
    "tags error_backtrace error_message restbroker_attempts extra"
)
MORE = "error_class display_class wrapped encrypt cattr restbroker_deferred restbroker_deferred_at restbroker_uncertain"
payloads = st.dictionaries(st.sampled_from(FIELDS.split()), json_values)
_WRAPPER = "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper"
_MAIL = "ActionMailer::MailDeliveryJob"
wrappers = st.fixed_dictionaries(
    {},
    optional={
        "class": st.sampled_from([_WRAPPER, "Sidekiq::ActiveJob::Wrapper", "Sidekiq::Extensions::DelayedClass"]),
        "wrapped": st.sampled_from(["Job", _MAIL]),
        "args": st.sampled_from([["--- x"], [{"arguments": [1]}], [{"job_class": "Job", "arguments": ["c", {}, "t"]}]]),
    },
)
odd_payloads = st.tuples(payloads, st.dictionaries(st.sampled_from(MORE.split()), json_values), wrappers).map(
    lambda parts: parts[0] | parts[1] | parts[2]
)


def failed(
    fields: dict[str, Json], *, jitter: float = 0.0, unique: int = 0, now_s: float = NOW_S, message: str = "500"
) -> FailedTry:
    return retry.fail(
        fields,
        retry.read_rule(fields),
        now_s=now_s,
        queue="q",
        error_class="HttpStatus500",
        error_message=message,
        jitter=jitter,
        backoff=SidekiqBackoff(),
        unique=unique,
    )


def written(fields: dict[str, Json]) -> dict[str, Json]:
    return failed(fields).fields


@pytest.mark.promise("Producers: jobs", "retry is read as Sidekiq reads it")
@rows(("fields", "rule"), [
    ({}, RetryRule(25)),
    ({"retry": True}, RetryRule(25)),
    ({"retry": None}, RetryRule(25)),
    ({"retry": "true"}, RetryRule(25)),
    ({"retry": "false"}, RetryRule(25)),
    ({"retry": "3"}, RetryRule(25)),
    ({"retry": 3.7}, RetryRule(25)),
    ({"retry": []}, RetryRule(25)),
    ({"retry": 3}, RetryRule(3)),
    ({"retry": 1}, RetryRule(1)),
    ({"retry": 0}, RetryRule(0)),
    ({"retry": -1}, RetryRule(0)),
    ({"retry": False}, RetryRule(0)),
    ({"retry": False, "retry_for": 60}, RetryRule(0)),
    ({"retry": 3, "retry_for": 60}, RetryRule(3, 60.0)),
    ({"retry_for": 1.5}, RetryRule(25, 1.5)),
    ({"retry_for": "60"}, RetryRule(25)),
    ({"retry_for": True}, RetryRule(25)),
    ({"retry_for": 1_700_000_000}, RetryRule(25)),
    ({"dead": False}, RetryRule(25, None, to_dead=False)),
    ({"dead": None}, RetryRule(25)),
    ({"dead": "false"}, RetryRule(25)),
    ({"dead": 0}, RetryRule(25)),
])  # fmt: skip
def test_every_form_of_retry_is_read_as_sidekiq_reads_it(fields: dict[str, Json], rule: RetryRule) -> None:
    assert retry.read_rule(fields) == rule


@rows(("fields", "before", "after"), [
    ({}, None, 0),
    ({"retry_count": None}, None, 0),
    ({"retry_count": True}, None, 0),
    ({"retry_count": "x"}, None, 0),
    ({"retry_count": {}}, None, 0),
    ({"retry_count": 0}, None, 0),
    ({"retry_count": 0, "failed_at": None}, None, 0),
    ({"retry_count": 0, "failed_at": 1.5}, 0, 1),
    ({"retry_count": -1, "failed_at": 1.5}, -1, 0),
    ({"retry_count": -9, "failed_at": 1.5}, -1, 0),
    ({"retry_count": "2"}, 2, 3),
    ({"retry_count": 2.0}, 2, 3),
    ({"retry_count": 10**30}, 1000, 1001),
    ({"retry_count": "9" * 5000}, None, 0),
])  # fmt: skip
def test_every_form_of_retry_count_goes_on_from_where_it_was(
    fields: dict[str, Json], before: int | None, after: int
) -> None:
    assert retry.read_count(fields) == before
    assert written(fields)["retry_count"] == after


@rows("number", [-(10**400), -(10**4298), -1e308])
def test_time_long_past_is_read_however_long_its_number(number: float) -> None:
    rule = retry.read_rule({"retry": True, "retry_for": number})
    assert rule.retry_for_s is not None
    assert rule.retry_for_s <= -1e9


@pytest.mark.promise("A good citizen", "jobs are moved byte for byte")
def test_a_first_failure_is_written_as_sidekiq_writes_it() -> None:
    first = failed({"class": "Add", "args": [1], "x": 1, "jid": "j", "queue": "other", "retry": True}, jitter=0.5)
    assert rubyjson.dumps(first.fields) == (
        b'{"class":"Add","args":[1],"x":1,"jid":"j","queue":"q","retry":true,"error_message":"500",'
        b'"error_class":"HttpStatus500","failed_at":1700000000.25,"retry_count":0}'
    )
    assert first.retry_at_s == NOW_S + 15 + 4.5


def test_a_later_failure_keeps_failed_at_and_sets_retried_at() -> None:
    again = failed({"class": "Add", "args": [], "failed_at": 1600000000.5, "retry_count": 2})
    assert again.fields["failed_at"] == 1600000000.5
    assert again.fields["retried_at"] == NOW_S
    assert again.retry_at_s == NOW_S + 3**4 + 15


@pytest.mark.promise("Producers: jobs", "retry is read as Sidekiq reads it")
@rows(("fields", "dead"), [
    ({"retry": True, "failed_at": 1.5, "retry_count": 23}, False),
    ({"retry": True, "failed_at": 1.5, "retry_count": 24}, True),
    ({"retry": 0}, True),
    ({"retry": -1}, True),
    ({"retry": False}, True),
    ({"retry": 1}, False),
    ({"retry": 1, "failed_at": 1.5, "retry_count": 0}, True),
    ({"retry_for": 60, "failed_at": NOW_S - 59, "retry_count": 99}, False),
    ({"retry_for": 60, "failed_at": NOW_S - 61, "retry_count": 0}, True),
    ({"retry_for": 60}, False),
])  # fmt: skip
def test_the_tries_end_where_sidekiq_ends_them(fields: dict[str, Json], dead: bool) -> None:
    assert (failed(fields).retry_at_s is None) is dead


def test_sidekiqs_backoff_stays_in_its_bounds() -> None:
    for count in (0, 1, 10, 24):
        assert delay_s(SidekiqBackoff(), count, 0.0) == count**4 + 15
        assert delay_s(SidekiqBackoff(), count, 0.999) < count**4 + 15 + 10 * (count + 1) - 1
    assert delay_s(SidekiqBackoff(), 3, 0.5) == 81 + 15 + 19.5
    assert delay_s(SidekiqBackoff(), 10**100, 0.0) == 1000**4 + 15


def test_exponential_backoff_has_full_jitter_and_a_cap() -> None:
    backoff = ExponentialBackoff(base_s=1, factor=2, cap_s=100)
    assert [delay_s(backoff, count, 0.5) for count in (0, 1, 6, 7, 5000)] == [0.5, 1, 32, 50, 50]
    assert delay_s(ExponentialBackoff(factor=1e300), 1000, 0.5) == 1800
    assert delay_s(backoff, 3, 0.0) == 0


@pytest.mark.promise("Producers: jobs", "times are stored as seconds with a fraction")
@rows(("value", "seconds"), [
    (1700000000.5, 1700000000.5),
    (1700000000, 1700000000.0000005),
    (1700000000.0, 1700000000.0000005),
    (1700000000123, 1700000000.123),
    (1700000000123.0, 1700000000.123),
    ("2006-01-02 15:04:05 UTC", 1136214245.0000005),
    ("2006-01-02 15:04:05 +0000 UTC", 1136214245.0000005),
    ("2006-01-02T15:04:05.5Z", 1136214245.5),
    ("2006-01-02T16:04:05.5+01:00", 1136214245.5),
    ("1700000000.5", 1700000000.5),
])  # fmt: skip
def test_times_become_seconds_with_a_fraction(value: Json, seconds: float) -> None:
    fields = written({"created_at": value, "enqueued_at": value, "failed_at": value, "retry_count": 3})
    assert [fields["created_at"], fields["enqueued_at"], fields["failed_at"]] == [seconds] * 3


@rows("value", ["yesterday", "", "nan", "1e400", -5, 1e300, 10**40, [], {}, True])
def test_times_that_are_none_go_away_and_failed_at_becomes_now(value: Json) -> None:
    fields = written({"created_at": value, "enqueued_at": value, "failed_at": value, "retry_count": 3})
    assert "created_at" not in fields
    assert "enqueued_at" not in fields
    assert fields["failed_at"] == NOW_S


@rows(("fields", "name", "value"), [
    ({"tags": "a"}, "tags", None),
    ({"tags": ["a"]}, "tags", ["a"]),
    ({"error_backtrace": ["a"]}, "error_backtrace", None),
    ({"error_backtrace": "eJ"}, "error_backtrace", None),
    ({"display_class": ["a"]}, "display_class", None),
    ({"display_class": "a"}, "display_class", "a"),
    ({"encrypt": True}, "encrypt", None),
    ({"encrypt": True, "args": [1]}, "encrypt", True),
    ({"at": 1}, "at", None),
    ({"retry_for": "1"}, "retry_for", None),
    ({"retry_queue": "slow", "queue": "other"}, "queue", "q"),
    ({}, "class", "Restbroker::Job"),
    ({"class": 5}, "class", "Restbroker::Job"),
    ({}, "args", []),
    ({"args": {"a": 1e20}}, "args", ['{"a":1.0e+20}']),
    ({"args": '["x", {}]'}, "args", ["x", {}]),
    ({"args": "x"}, "args", ["x"]),
    ({"args": "[" * 99 + "]" * 99}, "args", ["[" * 99 + "]" * 99]),
])  # fmt: skip
def test_fields_sidekiq_cannot_show_or_move_are_repaired(fields: dict[str, Json], name: str, value: Json) -> None:
    assert written(fields).get(name) == value


@rows("wrapper", [_WRAPPER, "Sidekiq::ActiveJob::Wrapper"])
@rows(("wrapped", "args"), [
    ("Job", []),
    ("Job", [5]),
    ("Job", ["send_message", {}, "t"]),
    ("Job", [{"arguments": None}]),
    (None, [{}]),
    ("Job", [{"job_class": "Job"}]),
    (_MAIL, [{"arguments": [1, 2, 3]}, 5]),
])  # fmt: skip
def test_unwrappable_active_job_loses_its_class_but_shows_it(wrapper: str, wrapped: Json, args: Json) -> None:
    fields = written({"class": wrapper, "wrapped": wrapped, "args": args})
    assert (fields["class"], fields["display_class"], fields["args"]) == ("Restbroker::Job", wrapper, args)


@given(payloads, st.integers(0, 1000))
def test_any_failed_payload_can_be_written_and_keeps_its_order(fields: dict[str, Json], unique: int) -> None:
    result = failed(fields, unique=unique).fields
    assert rubyjson.loads(rubyjson.dumps(result)) == result
    kept = [name for name in fields if name in result and name not in ("failed_at", "retried_at")]
    assert [name for name in result if name in kept] == kept


@given(odd_payloads)
def test_each_version_of_sidekiq_shows_whatever_is_stored_again(fields: dict[str, Json]) -> None:
    # A field that a producer made up is shown as HTML, whoever's it is.
    entry = read_again(rubyjson.dumps(fields).replace(b"<", b""))
    ends = [settle(entry, None, outcome, context()) for outcome in (Rejected(WHY), Deferred(WHY))]
    for reader in READERS.values():
        for end in (*ends, postpone(entry, context())):
            match end:
                case Dead():
                    reader.job("dead", end.payload)
                case Retry():
                    reader.job("retry", end.payload)
                case Schedule():
                    reader.job("schedule", end.payload)


@given(st.floats(1e9, 4e9), st.lists(st.integers(0, 1_000_000), unique=True, max_size=20))
def test_equal_jobs_failing_together_never_make_equal_members(now_s: float, steps: list[int]) -> None:
    moments = {retry.stamp(round(now_s, 6), step) for step in steps}
    assert len(moments) == len(steps)
    assert not any(moment.is_integer() for moment in moments)


def test_a_long_or_broken_message_is_cut_and_scrubbed() -> None:
    assert failed({}, message="a\ud800" + "b" * 20_000).fields["error_message"] == "a\ufffd" + "b" * 9_998


@rows(("raw", "args"), [
    (b"{x", ["{x"]),
    (b"5", ["5"]),
    (b"\x00", ["\0"]),
    (b"\xff\xfe", [base64.b64encode(b"\xff\xfe").decode(), "base64, because the payload is not UTF-8"]),
])  # fmt: skip
def test_invalid_bytes_are_wrapped_as_failed_now_and_not_retried(raw: bytes, args: list[Json]) -> None:
    fields = retry.wrap_unreadable(raw, "q", "j", "UnreadablePayload", "why", NOW_S)
    assert fields == {
        "class": "Restbroker::Unreadable", "args": args, "jid": "j", "queue": "q", "retry": False,
        "created_at": NOW_S, "failed_at": NOW_S, "error_message": "why", "error_class": "UnreadablePayload",
        "retry_count": 0,
    }  # fmt: skip
    assert rubyjson.loads(rubyjson.dumps(fields)) == fields


def test_the_last_ten_attempts_are_kept_newest_last() -> None:
    fields: dict[str, Json] = {}
    for number in range(12):
        fields["restbroker_attempts"] = retry.attempts(fields, {"at": number, "excerpt": "\ud800"})
    assert fields["restbroker_attempts"] == [{"at": number, "excerpt": "\ufffd"} for number in range(2, 12)]


def test_words_of_a_server_are_no_html_for_sidekiq_web_to_run() -> None:
    assert retry.attempts({}, {"at": 1, "excerpt": "<script>x</script>"}) == [
        {"at": 1, "excerpt": "‹script›x‹/script›"}
    ]


@rows("earlier", ["x", 5, {"a": 1}, None, [5, "x"]])
def test_attempts_of_a_wrong_form_are_forgotten(earlier: Json) -> None:
    assert retry.attempts({"restbroker_attempts": earlier}, {"at": 1}) == [{"at": 1}]


def test_first_failure_happened_now_whatever_the_producer_wrote() -> None:
    assert failed({"failed_at": 1.5}).fields["failed_at"] == NOW_S


@pytest.mark.promise("Producers: jobs", "retry_for counts from the first failure")
def test_a_job_with_retry_for_is_tried_up_to_its_last_moment() -> None:
    for now_s, tried in ((NOW_S, True), (NOW_S + 0.25, False)):
        again = failed({"retry_for": 60, "failed_at": NOW_S - 60, "retry_count": 0}, now_s=now_s)
        assert (again.retry_at_s is not None) is tried
