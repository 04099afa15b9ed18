"""One Sidekiq-format payload, read as tolerantly as producers need and no more.

Admission calls `read` with the bytes that the store fetched. Always holds: `raw` is what Redis has, `fields` its parsed
form in the same order, without the count of crashes, of a job of ActiveJob unwrapped; nothing is encoded back unless a
field must change.
"""

import hashlib
import re
from collections.abc import Mapping

import attrs

from restbroker.job import active_job, retry, rubyjson
from restbroker.job.format import PAYLOAD_LIMIT_BYTES, reply_key
from restbroker.job.json_types import Json, as_count
from restbroker.job.reason import Reason
from restbroker.light import frozen, frozen_plain

# The id in a payload that is no JSON, as it was cut off: two would be those of a job within another.
_JID = re.compile(rb'"jid"\s*:\s*"([0-9A-Za-z_-]{1,64})"')
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
# What was stored here once was within the limit before, and grew by its history; numbers such as 1e14 become longer.
_STORED_LIMIT_BYTES = 4 * PAYLOAD_LIMIT_BYTES
_STORED_SIGN = b'"restbroker_'
# Python writes all of a text as wide as its widest letter: an emoji makes four bytes of each.
_LETTER_BYTES = 4
# Measured with Python 3.11: lists and objects in which nothing is take the most.
_VALUE_BYTES = 64
_BEFORE_VALUES = b"[{,:"
WEIGHED_FROM_BYTES = 16 * 1024
"""From this length on a payload may take more memory than its length."""
UNCERTAIN_FIELD = "restbroker_uncertain"
"""The field that counts how often this job was sent without an answer, kept in the payload across retries."""
_MOST_UNCERTAIN = 1_000_000
MAY_HAVE_RUN_FIELD = "restbroker_may_have_run"
"""What remains of that count in a dead job: a person who retries it decides, and the count restarts at zero."""
EFFECTED_FIELD = "restbroker_effected"
"""A part of what this job wants was done, and the server said so: the job meets that part when it is sent again."""
CRASHES_FIELD = "restbroker_crashes"
"""In how many crashes the job was in progress (`job.crashes`). What is written of it anew counts them as uncertain."""
MOST_CRASHES = 6
"""A job that was in progress in so many crashes is not sent again."""
UNADMITTED_FIELD = "restbroker_unadmitted"
"""The queue of a dead job that no token admitted; its last member, or it counts for nothing."""
REVISION_FIELD = "restbroker_revision"
"""The field that counts how often a person made another command of this job, which keeps its jid."""
_MOST_REVISIONS = 1_000_000
_OF_ALL = frozenset(("class", "args", "jid", "queue", "retry", "created_at", "enqueued_at"))
"""The fields that Sidekiq's client gives each job."""


@frozen_plain
class Job:
    """A readable payload. `jid` is the payload's own, or one made for it; `queue` is where it was taken from.

    `attempt`: which execution this is, from 1. `maybe_run`: how often it may have run without an answer, over retries
    and crashes; it restarts at zero when a person retries a dead job. `crashes`: how often of these its process died.
    """

    raw: bytes
    fields: Mapping[str, Json]
    jid: str
    queue: str
    attempt: int
    maybe_run: int
    reply_to: str | None
    crashes: int = 0
    is_plain: bool = False
    """Whether it has the fields of all jobs alone: no rule about another field concerns it."""

    @property
    def rule(self) -> retry.RetryRule:
        """What the job says about its failures."""
        return retry.read_rule(self.fields)

    @property
    def identity(self) -> str:
        """The name of the command for a server, the same for each attempt: the jid, and after an edit the revision too.

        So no server takes the edited command for a repetition of the one that it had before.
        """
        times = revision_of(self.fields)
        return f"{self.jid}-r{times}" if times else self.jid

    @property
    def may_have_run(self) -> bool:
        """Whether any earlier sending may have been executed, or one was in part."""
        return self.maybe_run > 0 or may_have_run_before(self.fields)

    @property
    def ok_if_exists(self) -> bool:
        """Whether the producer said that a create which finds its object counts as done."""
        return self.fields.get("ok_if_exists") is True

    @property
    def traceparent(self) -> str | None:
        """The trace context to pass on; None unless it has the form that the W3C defines."""
        value = self.fields.get("traceparent")
        return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


@frozen
class NotAJob:
    """Bytes in a queue that are no job: dead, wrapped so that Sidekiq Web can show them.

    `size_bytes`: the length of bytes that only the store has; `raw` is empty then. 0: `raw` has them.
    """

    raw: bytes
    jid: str
    queue: str
    reason: Reason
    size_bytes: int = 0


def may_have_run_before(fields: Mapping[str, Json]) -> bool:
    """Tell whether a payload's fields record that it may have run before `maybe_run` began to count, or ran in part."""
    return fields.get(MAY_HAVE_RUN_FIELD) is True or fields.get(EFFECTED_FIELD) is True


def revision_of(fields: Mapping[str, Json]) -> int:
    """Return how often a person made another command of the job; 0: never."""
    return min(as_count(fields.get(REVISION_FIELD)), _MOST_REVISIONS)


def spare_jid(identity: str, ticket: str) -> str:
    """Return a jid for a payload without one: 24 hex digits, the same for the same ticket."""
    return hashlib.sha1(f"{identity}/{ticket}".encode(), usedforsecurity=False).hexdigest()[:24]


def digest(raw: bytes) -> str:
    """Return the SHA-1 (hex) of a payload."""
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()


def memory_bytes(raw: bytes) -> int:
    """Return about how much memory a payload takes in progress, in bytes: `[[],[],…]` takes twenty times its length.

    For a small one it is its length, since only as many are read at once as there are workers.
    """
    if len(raw) < WEIGHED_FROM_BYTES:
        return len(raw)
    text_bytes = len(raw) if raw.isascii() and b"\\u" not in raw else _LETTER_BYTES * len(raw)
    return text_bytes + _VALUE_BYTES * (len(raw) - len(raw.translate(None, _BEFORE_VALUES)))


def read(raw: bytes, queue: str, spare: str, forgotten: int = 0) -> Job | NotAJob:
    """Return the job in `raw`. `spare` becomes its jid if it has none, `forgotten` counts runs that Redis forgot.

    Never raises: bytes that are no JSON object, are too large or hold what Ruby cannot read come back as `NotAJob`.
    """
    if len(raw) > PAYLOAD_LIMIT_BYTES and not _was_stored(raw):
        return attrs.evolve(oversized_job(len(raw), queue, spare), raw=raw, size_bytes=0)
    try:
        fields = rubyjson.loads(raw)
    except rubyjson.Unreadable as error:
        own = set(_JID.findall(raw))
        jid = own.pop().decode() if len(own) == 1 else spare
        return NotAJob(raw, jid, queue, Reason("UnreadablePayload", f"The payload is not valid JSON: {error}.", _FIX))
    if not isinstance(fields, dict):
        return NotAJob(raw, spare, queue, Reason("UnreadablePayload", "The payload is JSON, but not an object.", _FIX))
    args = fields.get("args")
    if isinstance(args, list) and len(args) == 1:  # most have three: a call less
        active_job.unwrap(fields)
    jid = fields.get("jid")
    if not isinstance(jid, str) or not jid:
        jid = spare
    if _OF_ALL.issuperset(fields):
        return Job(raw, fields, jid, queue, 1, forgotten, None, is_plain=True)
    reply_to = reply_key(fields.get("reply_to"))
    crashes = crash_count(fields.pop(CRASHES_FIELD, None))
    maybe_run = forgotten + crashes + min(as_count(fields.get(UNCERTAIN_FIELD)), _MOST_UNCERTAIN)
    count = retry.read_count(fields)
    attempt = 1 if count is None else count + 2
    return Job(raw, fields, jid, queue, attempt, maybe_run, reply_to, crashes)


def crash_count(value: Json) -> int:
    """Return the count of crashes in this value of `CRASHES_FIELD`; 0 if restbroker cannot have written it."""
    return value if type(value) is int and 0 < value <= MOST_CRASHES else 0


def fields_of(raw: bytes) -> dict[str, Json] | None:
    """Return the fields of a payload, of a job of ActiveJob unwrapped; None if the bytes are no JSON object."""
    fields = rubyjson.object_of(raw)
    return None if fields is None else active_job.unwrap(fields)


_FIX = 'Push a Sidekiq job: an object with "class", "args" and "jid".'


def oversized_job(size_bytes: int, queue: str, spare: str) -> NotAJob:
    """Return the `NotAJob` for a payload of `size_bytes` that is too large, whose bytes are in the store alone."""
    message = f"The payload has {size_bytes} bytes; {PAYLOAD_LIMIT_BYTES} are the limit."
    return NotAJob(b"", spare, queue, Reason("PayloadTooLarge", message, "Send less in one job."), size_bytes)


def _was_stored(raw: bytes) -> bool:
    return len(raw) <= _STORED_LIMIT_BYTES and _STORED_SIGN in raw
