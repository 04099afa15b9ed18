"""What a job is once a person changed its command, arguments or queue. Called by `operate.act_job`.

Always holds: an edited job is admitted as a new one would be, by the token that it came with and by what that token
allows now; no job gains a right by an edit, so what its producer signed is not edited, and what restbroker sealed is
only if that seal holds; another command inherits nothing of what is known of the first one's run; what was hidden of a
job stays hidden, so a value that would be shown under its new name, or of its new command or target, is not kept.
"""

import json
from collections.abc import Callable, Collection, Mapping
from secrets import randbelow
from typing import Final

from restbroker.broker.tokens import Proof, Tokens
from restbroker.config.target import Target
from restbroker.errors import UsageError
from restbroker.job import arguments, auth, endpoint, hiding, redact, repair, retry, rubyjson, sealing, signing
from restbroker.job.argument_check import BadRow, Checker, quote_name
from restbroker.job.command import Command, CommandSpec
from restbroker.job.crashes import with_crashes_uncertain
from restbroker.job.display import DISPLAY_FIELD
from restbroker.job.hiding import MASK
from restbroker.job.job import (
    EFFECTED_FIELD,
    MAY_HAVE_RUN_FIELD,
    REVISION_FIELD,
    UNCERTAIN_FIELD,
    NotAJob,
    read,
    revision_of,
)
from restbroker.job.json_types import Json
from restbroker.job.reason import Reason
from restbroker.job.settle import CROWDED_FIELD, DEFERRED_FIELD
from restbroker.light import field, frozen
from restbroker.operate.context import ConfigContext
from restbroker.operate.job import ShownJob, StoredJob
from restbroker.operate.request import access_of, signatures_of

_OF_ITS_RUN: Final = (UNCERTAIN_FIELD, MAY_HAVE_RUN_FIELD, EFFECTED_FIELD, DEFERRED_FIELD, CROWDED_FIELD)
_WHOLE: Final = 1_048_576
_ENQUEUE: Final = "Push a new job (restbroker enqueue), and delete this one."


@frozen(kw_only=True)
class Edit:
    """Changes to a job; None: no change.

    `values`: arguments to set, `unset`: arguments to remove, `renames`: {argument: its new name}, with its value kept.
    `retry`: run the job at once. `any_command`: allow commands that no catalogue has. `act.perform` sets `version`,
    which returns the server's version for a queue, as a running process found it, or None.
    """

    tokens: Tokens = field(repr=False)
    version: Callable[[str], str | None] = lambda _queue: None
    values: Mapping[str, Json] = field(factory=dict, repr=False)
    unset: tuple[str, ...] = ()
    renames: Mapping[str, str] = field(factory=dict)
    command: str | None = None
    queue: str | None = None
    retry: bool = False
    any_command: bool = False

    def __str__(self) -> str:
        """Return the changes in words for the audit log: no value of an argument is in them."""
        words = [f"set {name}" for name in self.values] + [f"unset {name}" for name in self.unset]
        words += [f"rename {name} to {new}" for name, new in self.renames.items()]
        words += [f"command {self.command}"] if self.command else []
        words += [f"queue {self.queue}"] if self.queue else []
        return ", ".join([*words, *(["retry"] if self.retry else [])])

    def remaining_arguments(self, given: Mapping[str, Json]) -> dict[str, Json] | str:
        """Return these arguments without the removed ones, under their new names; or why that is impossible."""
        left: dict[str, Json] = {}
        for name, value in given.items():
            if name in self.unset:
                continue
            new = self.renames.get(name, name)
            if new in left or (new != name and new in given and new not in self.unset):
                return f"It has the argument {new} as well as {name}: remove one of the two."
            left[new] = value
        return left


@frozen
class EditedJob:
    """A job's new fields and its queue. `is_another`: the edit changed its command."""

    fields: dict[str, Json]
    queue: str
    is_another: bool


def differences(before: ShownJob, after: ShownJob, given: Collection[str]) -> list[tuple[str, str, str]]:
    """Return the differences between two forms of a job as (name, before, after).

    `given` names the arguments with new values. A masked one is listed whether or not its value differs.
    """
    found = [
        (name, was or "-", now or "-")
        for name, was, now in (("command", before.command, after.command), ("queue", before.queue, after.queue))
        if was != now
    ]
    was_of = before.arguments if isinstance(before.arguments, dict) else {}
    now_of = after.arguments if isinstance(after.arguments, dict) else {}
    for name in {**was_of, **now_of}:
        was, now = (_text(of[name]) if name in of else "(none)" for of in (was_of, now_of))
        if was != now:
            found.append((name, was, now))
        elif name in given and MASK in now:
            found.append((name, was, f"{now} (what was given)"))
    return found


def same_for_all(previews: Collection[tuple[ShownJob, ShownJob]], given: Collection[str]) -> list[str]:
    """Return the hidden arguments that get one value in all these jobs, though each may have its own now."""
    shown = [after.arguments for _, after in previews if isinstance(after.arguments, dict)]
    return [name for name in given if any(fields.get(name) == MASK for fields in shown)]


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@frozen
class _EditPlan:
    """A command with its arguments, and where it goes. `names`: which parts of it change."""

    target: Target
    queue: str
    command: Command
    names: tuple[str, ...]
    is_another: bool


def edit_job(edit: Edit, view: StoredJob, who: str, now_s: float) -> EditedJob | str | None:
    """Return the edited job, or why the edit is impossible; None if it changes nothing."""
    fields = view.fields or {}
    target = view.context.targets.get(view.queue or "")
    if target is None or view.queue is None:
        return "No target of this configuration serves its queue, so its rights are unknown."
    submission = arguments.read(fields.get("args"), edit.tokens.hide)
    if not isinstance(submission, Reason):
        submission = arguments.name_bare_list(submission, view.context.spec(view.queue, view.command))
    if isinstance(submission, Reason):
        return _reason_text(submission)
    proof = _proof(edit.tokens, view, target)
    if isinstance(proof, str):
        return proof
    wanted = _plan(edit, view, target, submission.command)
    if wanted is None or isinstance(wanted, str):
        return wanted
    spec = view.context.spec(wanted.queue, wanted.command.endpoint)
    refused = auth.refusal(proof.token, access_of(wanted.target, wanted.queue, spec, wanted.command))
    return _as_stored(wanted, view, proof, who=who, now_s=now_s) if refused is None else _reason_text(refused)


def _reason_text(reason: Reason | UsageError) -> str:
    return " ".join(word for word in (reason.message, reason.hint) if word)


def _proof(tokens: Tokens, view: StoredJob, target: Target) -> Proof | str:
    """Return what lets the job in as it is, if that also lets in what a person makes of it; else why it does not."""
    fields, queue = view.fields or {}, view.queue or ""
    code = fields.get("error_class")
    if isinstance(code, str) and code in auth.NEVER_EDITED:
        return f"It failed as {code}: an edit does not help. {_ENQUEUE}"
    submission = arguments.read(fields.get("args"), tokens.hide)
    first = signing.accepted_queue(fields)
    let_in_from = first if first is not None and first in target.queues else queue
    proof = None
    if not isinstance(submission, Reason):
        proof = tokens.proof(submission.token, view.jid or "", submission, let_in_from)
    if proof is None:
        return f"Its token or signature does not belong to this configuration: an edit does not help. {_ENQUEUE}"
    if proof.signature is None:
        needed = f'The token "{proof.token.name}" takes signed jobs only: an edit does not help. {_ENQUEUE}'
        return needed if proof.token.signed else proof
    if not sealing.is_own(fields, proof.secret, proof.signature):
        return f"Its producer signed it, and the signature would not match the edited job. {_ENQUEUE}"
    return proof


def _plan(edit: Edit, view: StoredJob, target: Target, was: Command) -> _EditPlan | str | None:
    """Return the requested command as its server takes it, or why it is refused; None if nothing changes."""
    queue = edit.queue or view.queue or ""
    goes_to = view.context.targets.get(queue)
    if goes_to is None:
        served = ", ".join(sorted(view.context.targets))
        return f"No target of this configuration serves the queue {queue!r}. This configuration serves: {served}."
    name = endpoint.check(edit.command or was.endpoint)
    if isinstance(name, Reason):
        return _reason_text(name)
    left = edit.remaining_arguments(was.arguments)
    if isinstance(left, str):
        return left
    is_same = name == was.endpoint and goes_to.name == target.name
    if is_same and not edit.values and left == was.arguments:
        # Neither the command nor its arguments are looked at: a queue takes what another one of its target takes.
        return _EditPlan(goes_to, queue, was, ("queue",), is_another=False) if queue != view.queue else None
    asked = Command(name, {**left, **edit.values})
    specs = view.context.spec(view.queue, was.endpoint), view.context.spec(queue, name)
    # Before it is looked at whether its server takes it: why not may quote a number.
    if (revealed := _Forms(edit, view.context, was, asked, *specs).revealed_reason()) is not None:
        return revealed
    fit = _fit(edit, goes_to, queue, asked)
    if isinstance(fit, str):
        return fit
    forms = _Forms(edit, view.context, was, fit, *specs)
    if fit.arguments != asked.arguments and (revealed := forms.revealed_reason()) is not None:
        return revealed
    names = (*forms.changed_names(), *(["command"] if name != was.endpoint else []))
    if queue == view.queue and not names:
        return None
    is_another = bool(names) or goes_to.name != target.name
    return _EditPlan(
        goes_to, queue, fit, names=(*names, *(["queue"] if queue != view.queue else [])), is_another=is_another
    )


def keeps_hidden(was: Json, now: Json) -> bool:
    """Tell whether `now` masks everything that `was` masks. Both are one value, each with what it masks as `MASK`."""
    if now in (was, MASK):
        return True
    if isinstance(was, dict) and isinstance(now, dict) and was.keys() == now.keys():
        return all(keeps_hidden(was[name], now[name]) for name in was)
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        return all(map(keeps_hidden, was, now))
    return MASK not in rubyjson.dumps(was).decode()


@frozen
class _Forms:
    """A command, what an edit makes of it, and what the catalogue says of each.

    `before` and `after`: the arguments as they may be shown by their names alone.
    """

    edit: Edit
    context: ConfigContext
    was: Command
    now: Command
    was_spec: CommandSpec | None
    now_spec: CommandSpec | None
    before: Mapping[str, Json] = field(init=False)
    after: Mapping[str, Json] = field(init=False)

    @before.default
    def _before(self) -> Mapping[str, Json]:
        return redact.arguments(self.was_spec, self.was.arguments, show_bodies=self.context.show_bodies)

    @after.default
    def _after(self) -> Mapping[str, Json]:
        return redact.arguments(self.now_spec, self.now.arguments, show_bodies=self.context.show_bodies)

    def changed_names(self) -> list[str]:
        """Return the names of the arguments that change.

        A hidden argument with a new value always counts: otherwise one could guess its value and see whether it
        changes.
        """
        was, now = self.was.arguments, self.now.arguments
        return [
            name
            for name in {**was, **now}
            if name not in was
            or name not in now
            or was[name] != now[name]
            or (name in self.edit.values and not self.before.get(name) == self.after.get(name) == now[name])
        ]

    def revealed_reason(self) -> str | None:
        """Return why the edit is refused: it would reveal more of an unchanged argument; None if it would not."""
        # Not by what was typed: a guess that hides the same value elsewhere would be told to be right.
        typed = {name: value and MASK for name, value in self.edit.values.items()}
        hide_before = self._hide(self.was_spec, self.was.arguments)
        hide_after = self._hide(self.now_spec, {**self.now.arguments, **typed})
        for name in self.was.arguments:
            new = self.edit.renames.get(name, name)
            if name in self.edit.unset or new in typed:
                continue
            # A name that is hidden itself is not among them.
            was = hiding.hide_everywhere(self.before.get(name, MASK), hide_before, _WHOLE)
            now = hiding.hide_everywhere(self.after.get(new, MASK), hide_after, _WHOLE)
            if not keeps_hidden(was, now):
                return _fields_of(name, new)
        return None

    def _hide(self, spec: CommandSpec | None, values: Mapping[str, Json]) -> hiding.Hide:
        return hiding.make_hide(redact.secret_values(spec, values, with_texts=False), self.context.secrets)


def _fields_of(name: str, new: str) -> str:
    was, now = quote_name(name), quote_name(new)
    if was == now:
        return (
            f"The argument {was} is hidden, and its value would be shown: give it a new value, remove it, or rename it"
            " if its name is misspelt."
        )
    return (
        f"The argument {was} is hidden, and its value would be shown as {now}: remove {was}, and give {now} a value of"
        " its own."
    )


def _fit(edit: Edit, target: Target, queue: str, command: Command) -> Command | str:
    """Return the command as the first of its forms takes it that takes it at all, or why none does."""
    try:
        known = signatures_of(target, edit.version(queue), command.endpoint, any_command=edit.any_command)
    except UsageError as error:
        return _reason_text(error)
    wrong = ""
    for spec in known.forms:
        fit = _as_taken(spec, target, command)
        if isinstance(fit, Command):
            return fit
        wrong = wrong or fit
    unknown = f"The command {known.command!r} is not known: --any takes the name as it is."
    return command if edit.any_command else wrong or unknown


def _as_taken(spec: CommandSpec, target: Target, command: Command) -> Command | str:
    try:
        values = Checker(spec, {}, target.default_host).arguments(dict(command.arguments), are_cells=False)
    except BadRow as wrong:
        return f"{wrong} `restbroker commands {spec.name}` lists what it takes."
    return Command(command.endpoint, values)


def _as_stored(wanted: _EditPlan, view: StoredJob, proof: Proof, *, who: str, now_s: float) -> EditedJob | str:
    """Return the job with the changes and a note of them, sealed again if it was; or why it cannot be stored."""
    fields = with_crashes_uncertain(view.fields or {})
    given = fields.get("args")
    args = repair.parse_list(given) if isinstance(given, str) else given
    assert isinstance(args, list)  # noqa: S101 - it was read already
    fields[retry.ATTEMPTS_FIELD] = retry.attempts(fields, _history_entry(wanted, who, now_s))
    if "queue" in wanted.names:
        fields["queue"] = wanted.queue
    if not wanted.is_another:
        return EditedJob(fields, wanted.queue, is_another=False)
    fields = {name: value for name, value in fields.items() if name not in _OF_ITS_RUN}
    # No one could tell afterwards that what was replaced is a secret.
    for name in {"error_message", retry.ATTEMPTS_FIELD} & fields.keys():
        fields[name] = view.failure_without_secrets(fields[name])
    fields["args"] = [wanted.command.endpoint, dict(wanted.command.arguments), *args[2:]]
    fields[REVISION_FIELD] = revision_of(fields) + 1
    if "command" in wanted.names:
        fields[DISPLAY_FIELD] = wanted.command.endpoint
    job = read(rubyjson.dumps(fields), wanted.queue, view.jid or "")
    if isinstance(job, NotAJob):
        return _reason_text(job.reason)
    if proof.signature is not None:
        was, number = args[2], randbelow(signing.ORDERS)
        job = sealing.seal(job, proof.secret, proof.token.name, number, now_s=now_s)
        if arguments.token(job.fields.get("args")) == was:
            return "The edited job would be too large to sign. Make it smaller, or push several jobs."
    return EditedJob(dict(job.fields), wanted.queue, is_another=True)


def _history_entry(wanted: _EditPlan, who: str, now_s: float) -> dict[str, Json]:
    """Return one more entry for the job's history."""
    outcome, code = (retry.EDITED, "Edited") if wanted.is_another else (retry.MOVED, "Moved")
    said = f"{who} changed {', '.join(wanted.names)}."[:200]
    return {"at": now_s, "status": None, "outcome": outcome, "code": code, "ms": 0.0, "excerpt": said}
