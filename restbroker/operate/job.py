"""One job of a set or a queue, as a person may see it, and whether conditions hold for it.

Called by `find`, `act` and `explain`. Always holds: what is shown has neither tokens nor secret arguments, and message
texts only under `ShowBodies`; a condition on what is hidden holds for no job, so that nothing can be guessed by
searching; what is costly (taking secrets out of texts) is done only where it is needed.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Final

import attrs

from restbroker.config.values import duration_text
from restbroker.job import arguments, claims, display, expiry, hiding, redact, retry, rubyjson, signing
from restbroker.job.arguments import Submission
from restbroker.job.crashes import crash_text
from restbroker.job.display import command_of
from restbroker.job.failure_group import generalise, group_id
from restbroker.job.hiding import MASK
from restbroker.job.job import CRASHES_FIELD, UNCERTAIN_FIELD, crash_count, digest, fields_of, may_have_run_before
from restbroker.job.json_types import Json
from restbroker.job.repair import seconds, without_tags
from restbroker.job.retry import ATTEMPTS_FIELD, ATTEMPTS_KEPT, TRY_FIELDS, UNREADABLE_CLASS, read_count
from restbroker.job.unmet import Unmet, unmet
from restbroker.light import field, frozen
from restbroker.operate.context import ConfigContext
from restbroker.operate.where import Condition, Where

_WORD_LIMIT: Final = 200
_TEXT_LIMIT: Final = 2000
_WHOLE: Final = 1_048_576
SHOWN_BYTES: Final = 65_536
"""Of larger jobs the arguments are not shown, nor texts that are longer."""
_MOST_VALUES: Final = 200
_LARGEST: Final = 10**18
_RAN: Final = ("uncertain", "delivered")
"""Outcomes of tries after which a command may have run, or has. No set: a producer may have put a list there."""


@frozen
class Refusal:
    """A job stays where it is. `why` is for people; "": it already is where it should be."""

    why: str


NOT_A_JOB: Final = Refusal("It is not a valid job: it can only be deleted.")
NO_QUEUE: Final = Refusal("It names no queue: it can only be deleted or moved to one.")
FOREIGN_QUEUE: Final = Refusal(
    "No target of this configuration serves its queue: another program would run it by its class and "
    "arguments. If that is intended, add --foreign-queues."
)
MAY_HAVE_RUN: Final = Refusal(
    "It may have run already, and its command may not be safe to repeat: check on the server whether it was "
    "done, then delete it, or retry it with --repeat-unsafe."
)
CHECK_FIRST: Final = "It may have run, and may not be safe to repeat: check on the server whether it was done."


@frozen(kw_only=True)
class ShownJob:
    """One job with secrets masked, for people. Times are epoch seconds; None if the job does not say.

    `key` identifies the job within its set and reveals nothing of it. `at_s`: when it died, is due, or was pushed.
    `attempts`: number of tries. `arguments`: {name: value}, or whatever the job has in their place. `history`: the last
    tries, oldest first: at, status, outcome, code, ms, excerpt. `is_job` False: the bytes are not a job, or a wrapped
    one that could not be read. `is_signed`: its producer signed it, so that it cannot be edited. `target`: None if no
    target of the configuration serves the queue. `repeat_safe`: it may be sent again even if it ran. `unique_key`: that
    of the lock with which it was pushed. `crashes`: how many processes died while they had it in progress; it waits
    `crash_wait_s` for that in a set, None if it does not. `unmet`: what it asks for and does not get, in sentences.
    """

    key: str
    at_s: float
    size_bytes: int
    message: str | None
    jid: str | None = None
    queue: str | None = None
    target: str | None = None
    command: str | None = None
    arguments: Json = None
    error_class: str | None = None
    attempts: int = 0
    failed_at_s: float | None = None
    retried_at_s: float | None = None
    enqueued_at_s: float | None = None
    created_at_s: float | None = None
    expires_at_s: float | None = None
    may_have_run: bool = True
    repeat_safe: bool = False
    is_job: bool = True
    is_signed: bool = False
    history: tuple[Mapping[str, Json], ...] = ()
    idempotency_key: str | None = None
    unique_key: str | None = None
    crashes: int = 0
    crash_wait_s: float | None = None
    unmet: tuple[str, ...] = ()

    @property
    def crash_text(self) -> str:
        """In words how processes died with it, "waits 40 s after 3 crashes"; "" if none did."""
        wait = "" if self.crash_wait_s is None else duration_text(self.crash_wait_s)
        return crash_text(self.crashes, wait) if self.crashes else ""


@frozen(eq=False, slots=False)
class StoredJob:
    """A job's bytes, parsed as far as needed. `in_queue`: the queue that it is in, or was taken from."""

    raw: bytes = field(repr=False)
    score: float
    context: ConfigContext = field(repr=False)
    in_queue: str | None = None

    @cached_property
    def fields(self) -> Mapping[str, Json] | None:
        """Return the parsed payload; None if it is no job."""
        return fields_of(self.raw)

    @property
    def key(self) -> str:
        """A name that identifies the job within its set and reveals nothing of it."""
        return f"{self.score!r}-{digest(self.raw)}"

    @property
    def jid(self) -> str | None:
        """The job's own id; None if it has none."""
        return self._text("jid")

    @property
    def jid_then(self) -> str:
        """The job's id after an action, which gives an id to a job that has none: always the same one."""
        return self.jid or digest(self.raw)[:24]

    @property
    def shown_jid(self) -> str | None:
        """The job's own id, with secrets masked."""
        return self._display(self.jid, _WORD_LIMIT)

    @property
    def queue(self) -> str | None:
        """The queue that the job is in, or goes to from its set (`default`, as in Sidekiq, if it names none)."""
        named = (self.fields or {}).get("queue", "default")
        return self.in_queue or (named if isinstance(named, str) and named else None)

    @property
    def target(self) -> str | None:
        """The target of the job's queue; None if no target of the configuration serves it."""
        return self.context.target(self.queue)

    @property
    def is_job(self) -> bool:
        """Whether a broker could read the job."""
        return self.fields is not None and self.fields.get("class") != UNREADABLE_CLASS

    @property
    def code(self) -> str | None:
        """The class of the job's last error, as it is."""
        return self._text("error_class")

    @property
    def reason(self) -> str | None:
        """The text of the job's last error, as it is."""
        return self._text("error_message")

    @property
    def command(self) -> str | None:
        """The command that the job's `args` name; None if they name none."""
        return command_of(self.fields or {})

    @property
    def group(self) -> str | None:
        """The id of the job's group: all jobs that failed for the same cause; None if it did not fail."""
        code, message = self.code, self.reason
        if code is None and message is None:
            return None
        cause = "" if message is None else generalise(message, self._values)
        return group_id(self.target, self.command or self._text("class"), code, cause)

    @property
    def shown_command(self) -> str | None:
        """The job's command, or else its class, with secrets masked."""
        return self._display(self.command or self._text("class"), _WORD_LIMIT)

    @property
    def shown_code(self) -> str | None:
        """The job's error class, with secrets masked."""
        return self._display(self.code, _WORD_LIMIT)

    @property
    def count(self) -> int | None:
        """Sidekiq's count of retries; None before the first failure."""
        return read_count(self.fields or {})

    @property
    def attempts(self) -> int:
        """The number of tries, if the job says so: a person's `retry` lowers Sidekiq's count, but not this number."""
        tries = sum(attempt.get("outcome") not in retry.BY_PEOPLE for attempt in self._tries)
        return 0 if self.count is None else max(self.count + 1, 1, tries)

    @property
    def may_have_run(self) -> bool:
        """Whether the server may already have executed the job."""
        fields = self.fields or {}
        uncertain = fields.get(UNCERTAIN_FIELD)
        known = may_have_run_before(fields) or (isinstance(uncertain, int) and uncertain > 0) or self.crashes > 0
        return known or any(attempt.get("outcome") in _RAN for attempt in self._tries_of_this)

    @property
    def crashes(self) -> int:
        """How many processes died while they had the job in progress, since it was pushed, tried or changed."""
        return crash_count((self.fields or {}).get(CRASHES_FIELD))

    @property
    def crash_wait_s(self) -> float | None:
        """For how many seconds the job waits in a set since processes died with it; None if it does not."""
        since_s = self.moment(retry.DEFERRED_AT_FIELD) if self.crashes and self.in_queue is None else None
        return None if since_s is None else max(0.0, self.score - since_s)

    @property
    def repeat_safe(self) -> bool:
        """Whether the job may be sent again even if it ran."""
        return self.context.repeats(self.queue, self.command)

    def matches(self, where: Where) -> bool:
        """Tell whether all conditions hold for the job with secrets masked."""
        return display.show_or_explain(lambda: self._matches(where), lambda _line: False)

    @property
    def open_text(self) -> bytes | None:
        """The job's id, command, arguments and error as JSON in lower case, with secrets masked.

        None if masking would take too long.
        """
        if self._open is None:
            return None
        return rubyjson.dumps([self.shown_jid, self.shown_code, self.message, *self._open]).lower()

    def says(self, text: str) -> bool:
        """Tell whether this text is in the job's id, command, argument values or error, with secrets masked."""
        return display.show_or_explain(lambda: self._says(text.casefold()), lambda _line: False)

    def without_secrets(self, words: Json) -> Json:
        """Return `words` with the job's secrets masked."""
        return hiding.hide_everywhere(words, self._hides[1], _WHOLE)

    def failure_without_secrets(self, words: Json) -> Json:
        """Return `words` of the job's last error or of its tries with its secrets masked."""
        return hiding.hide_everywhere(words, self._hides[0], _WHOLE)

    @property
    def is_large(self) -> bool:
        """Whether the job is too large for its arguments to be shown in lists."""
        return len(self.raw) > SHOWN_BYTES

    @property
    def timed(self) -> "StoredJob":
        """This view with a time as its score: outside the sets, the push time (epoch seconds), or 0."""
        pushed_s = self.score or self.moment("enqueued_at") or self.moment("created_at")
        return attrs.evolve(self, score=pushed_s or 0.0)

    def moment(self, field: str) -> float | None:
        """Return the time in this field, in epoch seconds; None if the field has none."""
        return seconds((self.fields or {}).get(field))

    @property
    def last_failure_s(self) -> float:
        """When the job last failed or was deferred, in epoch seconds; 0 if never."""
        moments = (self.moment(name) for name in ("retried_at", "failed_at", retry.DEFERRED_AT_FIELD))
        return max((moment for moment in moments if moment is not None), default=0.0)

    @property
    def last_change_s(self) -> float:
        """When the job last came somewhere, failed or was edited, in epoch seconds, as far as it says; else 0."""
        edits = (
            seconds(attempt.get("at"))
            for attempt in self._tries
            if attempt.get("outcome") in (retry.EDITED, retry.MOVED)
        )
        moments = (self.moment("enqueued_at"), self.moment("created_at"), self.last_failure_s, *edits)
        return max(moment for moment in moments if moment is not None)

    def shown(self) -> ShownJob:
        """Return all of the job that may be shown, with secrets masked."""
        return display.show_or_explain(self._shown, self._unshown)

    def _matches(self, where: Where) -> bool:
        # What is hidden is looked at nowhere here: the time would tell whether it would do.
        return all(condition.holds(self._visible_value(condition)) for condition in where)

    def _says(self, folded: str) -> bool:
        if self.fields is None:
            return False
        shown = self._shown()
        words = (shown.jid, shown.command, shown.error_class, shown.message)
        values = () if self.is_large else _leaves(shown.arguments)
        texts = (value if isinstance(value, str) else rubyjson.dumps(value).decode() for value in values)
        return any(folded in word.casefold() for word in (*words, *texts) if word)

    def _unshown(self, line: str) -> ShownJob:
        """Return what can be said of a job that cannot be shown."""
        return ShownJob(key=self.key, at_s=self.score, size_bytes=len(self.raw), message=line)

    def _shown(self) -> ShownJob:
        lock = claims.lock_of(self.fields or {})
        return ShownJob(
            key=self.key,
            at_s=self.score,
            jid=self.shown_jid,
            queue=self._display(self.queue, _WORD_LIMIT),
            target=self.target,
            command=self._display(self.command, _WORD_LIMIT),
            arguments=self._shown_arguments(),
            error_class=self._display(self.code, _WORD_LIMIT),
            message=self.message,
            attempts=self.attempts,
            failed_at_s=self.moment("failed_at"),
            retried_at_s=self.moment("retried_at"),
            enqueued_at_s=self.moment("enqueued_at"),
            created_at_s=self.moment("created_at"),
            expires_at_s=self.expires_at_s,
            may_have_run=self.may_have_run,
            repeat_safe=self.repeat_safe,
            is_job=self.is_job,
            is_signed=self._is_signed,
            history=tuple(self._clean(attempt) for attempt in self._tries),
            size_bytes=len(self.raw),
            idempotency_key=self._display(self._text(claims.KEY_FIELD), _WORD_LIMIT),
            unique_key=None if lock is None else self._display(lock.key, _WORD_LIMIT),
            crashes=self.crashes,
            crash_wait_s=self.crash_wait_s,
            unmet=tuple(f"It {found.what}. {found.hint}" for found in self._unmet),
        )

    @property
    def expires_at_s(self) -> float | None:
        """When the job expires (epoch seconds); None: never, or its `expiry` is not a time."""
        found = expiry.read(self.fields or {}, self.context.expire_s(self.queue, self.command))
        return found if isinstance(found, float) else None

    @property
    def _is_signed(self) -> bool:
        found = signing.read(arguments.token((self.fields or {}).get("args")))
        return found is not None and found.at_s >= signing.ORDERS

    @property
    def _unmet(self) -> Iterator[Unmet]:
        """Yield what the job asks for and does not get at its target, if that is known."""
        fields, target = self.fields or {}, self.context.targets.get(self.queue or "")
        if target is not None and self.is_job:
            answered = self.context.has_answers or arguments.token_and_reply_id(fields.get("args"))[1] is None
            expires = self.expires_at_s is not None
            yield from unmet(fields, target.unread_keys, target.queues, expires=expires, answered=answered)

    @property
    def arguments_as_they_are(self) -> Mapping[str, Json]:
        """{name: value} of the arguments in which nothing is masked."""
        shown = self.shown().arguments
        given = shown if isinstance(shown, dict) else {}
        return {name: value for name, value in self._arguments.items() if name in given and given[name] == value}

    @property
    def _values(self) -> list[str]:
        """The texts in its arguments at any depth: its secrets as well."""
        texts = (leaf for leaf in _leaves((self.fields or {}).get("args")) if isinstance(leaf, str))
        return [*islice(texts, _MOST_VALUES)]

    @property
    def _tries(self) -> list[dict[str, Json]]:
        listed = (self.fields or {}).get(ATTEMPTS_FIELD)
        return [item for item in listed if isinstance(item, dict)][-ATTEMPTS_KEPT:] if isinstance(listed, list) else []

    @property
    def _tries_of_this(self) -> list[dict[str, Json]]:
        """The tries of the command that it is now: an edit makes another one of it."""
        edits = [n for n, attempt in enumerate(self._tries) if attempt.get("outcome") == retry.EDITED]
        return self._tries[edits[-1] + 1 :] if edits else self._tries

    @property
    def message(self) -> str | None:
        """Why the job failed, with secrets masked."""
        if self.fields is None:
            return "This entry is not a job: it is not a JSON object."
        return self._display(self.reason, _TEXT_LIMIT, self._hides[0])

    @property
    def said_to(self) -> int:
        """Where what the server said ends in `message`, before what to do about it; 0 if the tries do not tell."""
        message = without_tags(self.message or "")
        for attempt in reversed(self._tries):
            said = attempt.get("excerpt")
            # A longer one was cut.
            if isinstance(said, str) and 0 < len(said) < _WORD_LIMIT:
                shown = self._display(said, _WORD_LIMIT, self._hides[0]) or MASK
                if shown in message:
                    return message.index(shown) + len(shown)
        return 0

    @cached_property
    def _arguments(self) -> Mapping[str, Json]:
        """Return the arguments by name; none where they cannot be read."""
        fields = self.fields or {}
        read = arguments.read(fields.get("args")) if self.is_job else None
        if isinstance(read, Submission):
            read = arguments.name_bare_list(read, self.context.spec(self.queue, self.command))
        return read.command.arguments if isinstance(read, Submission) else {}

    @cached_property
    def _masked_arguments(self) -> dict[str, Json]:
        """Return the arguments masked, all at once: one may say of another that it is secret."""
        spec = self.context.spec(self.queue, self.command)
        return redact.arguments(spec, self._arguments, show_bodies=self.context.show_bodies)

    @cached_property
    def _hides(self) -> tuple[hiding.Hide, hiding.Hide]:
        spec = self.context.spec(self.queue, self.command)
        fields, (args, secrets) = self.fields or {}, self._look
        if not (len(args) > 1 and isinstance(args[1], dict)):  # a list is named here alone
            secrets |= redact.secret_values(spec, self._arguments)
        return redact.hides_of(fields, secrets, self.context.secrets)

    @cached_property
    def _look(self) -> tuple[list[Json], frozenset[hiding.Secret]]:
        """Return its `args`, masked by their names alone, and the secrets in them."""
        spec = self.context.spec(self.queue, self.command)
        return redact.look(self.fields or {}, spec, show_bodies=self.context.show_bodies)

    def _text(self, name: str) -> str | None:
        value = (self.fields or {}).get(name)
        return value if isinstance(value, str) and value else None

    def _display(self, text: str | None, limit: int, hide: hiding.Hide | None = None) -> str | None:
        if text is None:
            return None
        if len(text) > SHOWN_BYTES:
            # A part of it could end within a secret, which nothing would find then.
            return f"(not shown: it has {len(text):,} characters)"
        return (hide or self._hides[1])(text, limit)

    def _clean(self, one: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return the parts that a try has, without what else a producer may have put there."""
        return {name: self._visible(one[name]) for name in TRY_FIELDS if name in one}

    def _visible(self, value: Json) -> Json:
        match value:
            case str():
                return self._display(value, _WORD_LIMIT, self._hides[0])
            case int() | float() if -_LARGEST < value < _LARGEST:
                return hiding.hide_everywhere(value, self._hides[0], _WORD_LIMIT)
            case None:
                return None
            case _:
                return "…"

    def _shown_arguments(self) -> Json:
        if self.is_large:
            return f"(not shown: the job has {len(self.raw)} bytes)"
        if self._arguments:
            shown: Json = self._masked_arguments
        else:
            listed = self._look[0]
            shown = listed[1] if len(listed) > 1 and self.command is not None else listed
        return hiding.hide_everywhere(shown, self._hides[1], _TEXT_LIMIT)

    @cached_property
    def _open(self) -> list[Json] | None:
        """Return its `args` as they are shown; None where it is too large to be looked through, or no job."""
        words = (self.jid, self.command, self.code, self.queue)
        if self.is_large or not self.is_job or any(len(word) > _WORD_LIMIT for word in words if word is not None):
            return None
        text = rubyjson.dumps([*self._look[0]]).decode()
        if self._hides[1](text, _WHOLE) == text:  # which is sooner seen at once
            return self._look[0]
        shown = hiding.hide_everywhere([*self._look[0]], self._hides[1], _WHOLE)
        return shown if isinstance(shown, list) else None

    def _actual(self, condition: Condition) -> Json:
        """Return what the condition is about, as it is."""
        argument = condition.argument
        return _VALUES[condition.field](self) if argument is None else self._arguments.get(argument)

    def _visible_value(self, condition: Condition) -> Json:
        """Return what the condition is about, as it may be shown."""
        found = self._actual(condition)
        name = condition.argument
        if name is not None and found is not None:
            match self._open:
                case [_, dict() as given, *_]:
                    shown: Json = given.get(name, MASK)
                    return shown
                case _:
                    pass
            # Under no name of its own where that is hidden, too.
            return hiding.hide_everywhere(self._masked_arguments.get(name, MASK), self._hides[1], _WHOLE)
        match condition.field, found:
            case "message", str(text):
                return self._hides[0](text, _WHOLE)
            case "jid" | "command" | "error", str(text):
                return self._plain(text)
            case _:
                return found

    def _plain(self, text: str) -> str:
        """Return a word as it may be shown.

        Its job's own secrets are not searched for, which would cost much for each of a million.
        """
        shown = hiding.mask_secrets(text, self.context.secrets)
        return text if shown == text else MASK


_VALUES: Final[Mapping[str, Callable[[StoredJob], Json]]] = {
    # A job that waits may not say when it was pushed.
    "at": lambda job: job.score or None,
    "failed_at": lambda job: job.moment("failed_at"),
    "enqueued_at": lambda job: job.moment("enqueued_at"),
    "attempts": lambda job: job.attempts,
    "jid": lambda job: job.jid,
    "command": lambda job: job.command,
    "queue": lambda job: job.queue,
    "target": lambda job: job.context.target(job.queue),
    "error": lambda job: job.code,
    "message": lambda job: job.reason,
    "failure_group": lambda job: job.group,
}
"""What conditions are about, by their field."""


def refusal(job: StoredJob | ShownJob, *, foreign_queues: bool, repeat_unsafe: bool) -> Refusal | None:
    """Return why the job is not sent again, unless that is allowed; None if it is."""
    if not job.is_job:
        return NOT_A_JOB
    if job.queue is None:
        return NO_QUEUE
    if job.target is None and not foreign_queues:
        return FOREIGN_QUEUE
    return MAY_HAVE_RUN if job.may_have_run and not job.repeat_safe and not repeat_unsafe else None


def retry_options(job: ShownJob) -> str | Refusal:
    """Return the options without which a retry of this job is refused, as typed; or why each retry is."""
    foreign = unsafe = False
    while (refused := refusal(job, foreign_queues=foreign, repeat_unsafe=unsafe)) is not None:
        if refused not in (FOREIGN_QUEUE, MAY_HAVE_RUN):
            return refused
        foreign, unsafe = foreign or refused == FOREIGN_QUEUE, unsafe or refused == MAY_HAVE_RUN
    return " --foreign-queues" * foreign + " --repeat-unsafe" * unsafe


def _leaves(value: Json) -> Iterator[Json]:
    """Yield the texts, numbers and other plain values in this value at any depth, without names."""
    left: list[Json] = [value]
    while left:
        match left.pop():
            case list() as inner:
                left += inner
            case dict() as inner:
                left += inner.values()
            case plain:
                yield plain
