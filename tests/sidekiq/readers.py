"""What each version of Sidekiq demands of what it reads in Redis, in our own words; for versions that cannot run here.

Used by test_versions.py. `READERS` has one reader for each version; its methods are given what is in Redis and raise
`PageGone` where Sidekiq Web would answer 500 (for every process and job on that page, not only ours) or `ShownWrong`
where it would show something false, or a button would do nothing. Sources: the files lib/sidekiq/{api,launcher}.rb,
lib/sidekiq/web/*.rb and web/views/ of 5.2, 6.4.1, 6.5, 7, 8.0 and 8.1; pages of 6.4.1, 7.3.2, 8.0.10 and 8.1.7 were
measured with one field changed at a time; the capsules of 8.0.8 and 8.0.9 as in Sidekiq's issues 6858 and 6883.
Always holds: a reader knows nothing of restbroker's code; where minor versions differ, the strictest counts.
"""

import base64
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NoReturn

import attrs

Place = Literal["queue", "retry", "schedule", "dead", "work"]

# As seconds the year 5138, as milliseconds 1973.
_MILLISECONDS_FROM: Final = 1e11
# Ruby's JSON.parse refuses more.
_DEEPEST: Final = 100
JOB_WRAPPER: Final = "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper"
_WRAPPERS: Final = (JOB_WRAPPER, "Sidekiq::ActiveJob::Wrapper")
_INTEGER: Final = re.compile(r"-?[0-9]+")


class Refused(AssertionError):
    """Sidekiq could not read it as it is meant."""


class PageGone(Refused):
    """A page of Sidekiq Web answers 500, and Sidekiq's API raises."""


class ShownWrong(Refused):
    """Nothing breaks, but something false is shown, or a button does nothing."""


@attrs.frozen
class Reader:
    """One version. `work` ends the name of the hash of jobs in progress; `milliseconds`: whole numbers are such."""

    version: str
    work: str
    milliseconds: bool = False
    queues: tuple[str, ...] = ("queues",)
    concurrency: Literal["blank", "needed", "field"] = "blank"
    sorts_hosts: bool = True
    lists_labels: bool = True
    text_backtrace: bool = True
    list_backtrace: bool = True
    needs_queue: bool = False
    shows_context: bool = False

    def process(self, identity: str, fields: Mapping[str, str]) -> None:
        """The hash of a process, named like the member of `processes`."""
        if "info" not in fields:
            _wrong("a process without info is pruned")
        info = _object(_parse(fields["info"]), "info")
        if not _number(info.get("started_at")):
            _gone("Busy: info.started_at is no number")
        self._queues(info)
        self._labels(info)
        self._threads(info, fields)
        if self.sorts_hosts and not isinstance(info.get("hostname"), str | None):
            _gone("Busy: info.hostname is no text, and processes are sorted by it")
        if info.get("identity") != identity:
            _wrong("info.identity: the buttons would signal another process")
        if info.get("embedded"):
            _wrong("info.embedded: there would be no buttons")
        if fields.get("quiet") not in ("true", "false"):
            _wrong("quiet is neither true nor false")
        for name in ("busy", "rss", "rtt_us"):
            if name in fields and not _INTEGER.fullmatch(fields[name]):
                _wrong(f"{name} counts as 0")

    def running_job(self, value: bytes | str) -> None:
        """A value of the hash of jobs in progress."""
        shown = _object(_parse(value), "a job in progress")
        if not _number(shown.get("run_at")):
            _gone("Busy: run_at is no number")
        if not isinstance(shown.get("queue"), str):
            (_gone if self.needs_queue else _wrong)("Busy: queue is no text")
        payload = shown.get("payload")
        if not isinstance(payload, str | dict):
            _gone("Busy: payload is neither text nor an object")
        fields = payload if isinstance(payload, dict) else _parse(payload)
        self._shown(_object(fields, "the payload of a job in progress"), "work")

    def job(self, place: Place, raw: bytes | str) -> None:
        """A member of a queue or of one of the three sets."""
        fields = _object(self._read(place, raw), place)
        self._times(fields, place)
        self._shown(fields, place)
        if place == "queue":
            return
        if self.needs_queue and not isinstance(fields.get("queue"), str):
            _gone(f"{place}: queue is no text")
        if place in ("retry", "dead"):
            self._backtrace(fields)
        if place == "retry":
            _failure(fields)
        if not isinstance(fields.get("jid"), str):
            _wrong(f"{place}: without a jid, details and buttons do not find it")
        for name, value in fields.items():
            if name.startswith("restbroker_") and "<" in json.dumps(value):
                _wrong(f"{place}: the details show {name} as HTML")

    def score(self, text: str) -> None:
        """A score as Redis writes it: the links of Sidekiq Web are made of it, with a dash behind it."""
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or not 1e-4 <= float(text) < 1e16:
            _wrong(f"the link of score {text} leads nowhere")
        if float(text) >= _MILLISECONDS_FROM:
            _wrong("scores are seconds in every version")

    def counter(self, text: str) -> None:
        """stat:processed, stat:failed, also those of a day."""
        if not _INTEGER.fullmatch(text):
            _wrong("a counter that is no whole number counts as what it begins with")

    def _read(self, place: Place, raw: bytes | str) -> Any:
        try:
            return _parse(raw)
        except PageGone:
            # The lists show the text as the only argument; its details and buttons do not find it.
            if place == "queue" or (place != "dead" and self.needs_queue):
                raise
            _wrong(f"{place}: it is not JSON that Ruby parses")

    def _queues(self, info: Mapping[str, Any]) -> None:
        # From 7 on the first that is there counts; 8.0.8 and 8.0.9 insist on capsules.
        if "capsules" in self.queues and self.version == "8.0" and not isinstance(info.get("capsules"), dict):
            _gone("Busy of 8.0.8 and 8.0.9: info.capsules is no object")
        there = [name for name in self.queues if info.get(name) is not None]
        if not there:
            _gone(f"Busy: info has none of {', '.join(self.queues)}")
        for name in there:
            if not _QUEUES[name](info[name]):
                _gone(f"Busy: info.{name} cannot be listed")

    def _labels(self, info: Mapping[str, Any]) -> None:
        if self.lists_labels and not isinstance(info.get("labels"), list | None):
            _gone("Busy: info.labels is no list")

    def _threads(self, info: Mapping[str, Any], fields: Mapping[str, str]) -> None:
        match self.concurrency:
            case "field":
                if not _INTEGER.fullmatch(fields.get("concurrency", "")):
                    _wrong("the field concurrency is no number: no threads are shown")
            case "needed" if not _number(info.get("concurrency")):
                _gone("Busy: info.concurrency is no number")
            case _ if not _number(info.get("concurrency")):
                _wrong("info.concurrency: the column of threads stays blank")

    def _times(self, fields: Mapping[str, Any], place: Place) -> None:
        names = ["enqueued_at"] if place == "queue" else ["enqueued_at", "created_at", "failed_at", "retried_at"]
        for name in names:
            value = fields.get(name)
            if value is not None and not _number(value):
                _gone(f"{place}: {name} is no number")
        for name in names:
            if isinstance(value := fields.get(name), int) and (value >= _MILLISECONDS_FROM) != self.milliseconds:
                _wrong(f"{place}: {name} is a whole number of {'' if self.milliseconds else 'milli'}seconds")

    def _shown(self, fields: Mapping[str, Any], place: Place) -> None:
        args = fields.get("args")
        if not isinstance(fields.get("tags") or [], list):
            _gone(f"{place}: tags is no list")
        if fields.get("encrypt") and (not args or not isinstance(args, list | dict)):
            _gone(f"{place}: encrypt without an argument to hide")
        wrapping = args[0] if isinstance(args, list) and args else None
        if fields.get("class") in _WRAPPERS and fields.get("wrapped") and not isinstance(wrapping, str | dict):
            _gone(f"{place}: a wrapped job without its wrapping")
        if self.shows_context and place == "queue" and not isinstance(fields.get("cattr"), list | dict | None):
            _gone("queue: cattr is neither list nor object")
        for name in ("class", "display_class"):
            if isinstance(fields.get(name), str) and "<" in fields[name]:
                _wrong(f"{place}: the pages show {name} as HTML")

    def _backtrace(self, fields: Mapping[str, Any]) -> None:
        match fields.get("error_backtrace"):
            case None:
                return
            case list() if self.list_backtrace:
                return
            case str(text) if self.text_backtrace and _inflates(text):
                return
            case _:
                _gone("details: error_backtrace cannot be read")


def _failure(fields: Mapping[str, Any]) -> None:
    count = fields.get("retry_count")
    if count is not None and not _number(count):
        _gone("retry: retry_count is no number")
    if fields.get("failed_at") is None:
        _gone("retry: failed_at is missing")
    if count and count > 0 and fields.get("retried_at") is None:
        _gone("retry: retried_at is missing, though it was retried")


def _parse(raw: bytes | str) -> Any:
    try:
        value = json.loads(raw, parse_constant=_gone)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        _gone("it is not JSON that Ruby parses")
    if _depth(value) > _DEEPEST:
        _gone("it is nested deeper than Ruby parses")
    return value


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _gone(f"{what} is no object")
    return value


def _depth(value: Any) -> int:
    inner: Iterator[Any] = iter(())
    match value:
        case dict():
            inner = iter(value.values())
        case list():
            inner = iter(value)
        case _:
            return 0
    return 1 + max(map(_depth, inner), default=0)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _inflates(text: str) -> bool:
    try:
        return isinstance(json.loads(zlib.decompress(base64.b64decode(text))), list)
    except (ValueError, zlib.error):
        return False


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _weights(value: Any) -> bool:
    hashes = value if isinstance(value, list) else [value]
    return all(isinstance(weights, dict) and all(map(_number, weights.values())) for weights in hashes)


def _capsules(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(capsule, dict) and isinstance(capsule.get("weights"), dict) for capsule in value.values()
    )


def _gone(what: str) -> NoReturn:
    raise PageGone(what)


def _wrong(what: str) -> NoReturn:
    raise ShownWrong(what)


_QUEUES: Final = {"queues": _texts, "weights": _weights, "capsules": _capsules}

READERS: Final = {
    reader.version: reader
    for reader in (
        Reader("5", "workers", sorts_hosts=False, lists_labels=False, text_backtrace=False),
        Reader("6.4", "workers", sorts_hosts=False, lists_labels=False),
        Reader("6.5", "work", lists_labels=False),
        Reader("7", "work", queues=("weights", "queues"), concurrency="needed", list_backtrace=False),
        Reader(
            "8.0",
            "work",
            milliseconds=True,
            queues=("capsules", "weights", "queues"),
            concurrency="needed",
            list_backtrace=False,
        ),
        Reader(
            "8.1",
            "work",
            milliseconds=True,
            queues=("capsules", "queues"),
            concurrency="field",
            list_backtrace=False,
            needs_queue=True,
            shows_context=True,
        ),
    )
}
