"""The forms that edit one job, or all that match: made from the server's catalogue, with the difference shown first.

`web.site` serves it. Always holds: no secret is in any of its pages, neither the job's nor one that was typed: a hidden
argument stays as it is unless it is replaced, and what was typed waits in this process until it is confirmed.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
from quart import Response, request
from werkzeug.datastructures import MultiDict

from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.job.command import ArgumentSpec
from restbroker.job.json_types import Json
from restbroker.light import frozen
from restbroker.operate import find, where
from restbroker.operate.edit import Edit
from restbroker.operate.find import SearchLimits
from restbroker.operate.job import ShownJob, StoredJob
from restbroker.serving.app import Refuse
from restbroker.store.client import Client
from restbroker.web import filters
from restbroker.web.actions import ActPages, action_form_of
from restbroker.web.connection import AdminConnection
from restbroker.web.pages import SET, SETS, address, conditions
from restbroker.web.render import TITLES, Shell
from restbroker.web.route import page, require_declared

_LOOK_S: Final = 2.0
_BUDGET: Final = SearchLimits(jobs=50_000, seconds=_LOOK_S, gives_way=True)
_LONGEST: Final = 8192
_GONE: Final = "The job is gone or has changed, or none matches any longer."
_GIVEN: Final = "arg."
"""The prefix of an argument's name in the form."""
_AS: Final = "as."
"""The prefix in the form of the name of an argument that is to be renamed."""
_OUT: Final = "out"
"""The checkbox of a hidden argument that is to be removed."""
_FIELDS: Final = (_GIVEN, _AS, "command", "queue", "retry", "first")


@frozen
class Field:
    """One argument in the form; `hidden`: it has a value that is not shown, `hint`: what the catalogue says about it.

    `secret`: input in the field is not shown either. `example`: the value in one of many jobs. `is_known`: the command
    has this argument.
    """

    name: str
    text: str
    hidden: bool
    hint: str
    secret: bool
    example: str = ""
    is_known: bool = True


@frozen
class _Form:
    """A job, or the first of all that match, and what the form shows of it."""

    entry: ShownJob
    fields: tuple[Field, ...]
    command: str
    queue: str
    queues: tuple[str, ...]


@frozen(eq=False)
class EditPages:
    """The views for edits; `refuse` makes an answer without a page, `acts` confirms and carries them out."""

    admin: AdminConnection
    shell: Shell
    refuse: Refuse
    acts: ActPages

    @page(f"/edit/{SET}", "the edit of all jobs that match")
    @page(f"/{SET}/<key>/edit", "the edit of one job")
    async def ask(self, name: str, key: str | None = None) -> Response:
        """Return the form filled with the job as it is, or as another command in the address would have it.

        Without `key` it is for all jobs that match: with the first as an example, and an empty field changes nothing.
        """
        require_declared(request.args, "command", lists=["where"])
        typed = conditions(request.args.getlist("where"))
        return await self._form(name, key, typed, {"command": request.args.get("command", "")})

    @page(f"/edit/{SET}", method="POST")
    @page(f"/{SET}/<key>/edit", method="POST")
    async def act(self, name: str, key: str | None = None) -> Response:
        """Return the page that shows what the filled-in form would change; `ActPages` confirms it.

        Return the form again, with the reason, if it cannot be read or changes nothing.
        """
        form = await request.form
        require_declared(form, *_FIELDS, lists=["where", _OUT])
        typed = conditions(form.getlist("where"))
        meant = [("where", typed_value) for typed_value in typed] if key is None else [("job", key)]

        def changes(client: Client) -> Edit:
            view = self._example(client, name, key, typed)
            if view is None:
                raise UsageError(_GONE, "Reload the list.")
            return _changes_of(view, form, Edit(tokens=self.admin.tokens()), is_for_all=key is None)

        try:
            edit = await self.admin.ask(changes)
            asked = action_form_of(name, MultiDict([*meant, ("first", form.get("first", ""))]))
            return await self.acts.ask(attrs.evolve(asked, edit=self.acts.edits.keep(edit, asked.about)))
        except UsageError as error:
            return await self._form(name, key, typed, form, f"{error.message} {error.hint or ''}")

    async def _form(
        self, name: str, key: str | None, typed: list[str], filled: Mapping[str, str], wrong: str | None = None
    ) -> Response:
        if self.shell.settings.is_read_only:
            return self.refuse(404, "NotFound", "Nothing can be changed on these pages.")

        def work(client: Client) -> _Form | None:
            view = self._example(client, name, key, typed)
            return None if view is None else self._form_like(view, filled, is_for_all=key is None)

        shown = await self.admin.ask(work)
        if shown is None:
            return self.refuse(404, "JobGone", _GONE, "Reload the list.")
        html = await self.shell.page_of_jobs(
            "edit.html" if key else "edit-all.html",
            name=name,
            key=key,
            title="Edit a job" if key else f"Edit {TITLES[name].lower()} jobs",
            form=shown,
            typed=typed,
            wrong=wrong,
            retry=filled.get("retry") == "yes",
            first=filled.get("first") == "yes",
            path=f"/edit/{name}",
            back=address(f"/{name}", typed),
        )
        return Response(html, 200 if wrong is None else 400)

    def _example(self, client: Client, name: str, key: str | None, typed: list[str]) -> StoredJob | None:
        """Return the job with this key, or the first that matches; None if there is none."""
        known, zset = self.admin.context(), SETS[name]
        if key is None:
            wanted = where.read(typed, time.time(), ahead=zset != "dead", hidden=known.hidden)
            found = find.page(client, zset, wanted, known, limit=1, limits=_BUDGET).entries
            key = found[0].key if found else ""
        if not find.is_key(key):
            return None
        member = find.locate(client, zset, key, _LOOK_S).member
        return None if member is None else StoredJob(*member, known)

    def _form_like(self, view: StoredJob, typed: Mapping[str, str], *, is_for_all: bool) -> _Form:
        own = view.command or ""
        # A job may have its token in the command's place.
        wanted = typed.get("command", "").strip() or (own if view.without_secrets(own) == own else "")
        known = self.admin.context()
        spec = known.spec(view.queue, wanted)
        entry = view.shown()
        fields = _fields(view, entry, () if spec is None else spec.arguments)
        fields = [_as_typed(_as_example(field) if is_for_all else field, typed) for field in fields]
        queue = typed.get("queue", "" if is_for_all else view.queue or "")
        return _Form(entry, tuple(fields), wanted, queue=queue, queues=tuple(sorted(known.targets)))


def _fields(view: StoredJob, entry: ShownJob, specs: Sequence[ArgumentSpec]) -> list[Field]:
    """Return a field for each argument of the command, then one for each that only the job has."""
    given = entry.arguments if isinstance(entry.arguments, dict) else {}
    shown = {name: text for name, value in view.arguments_as_they_are.items() if (text := _text(value)) is not None}
    of = {next((alias for alias in (spec.name, *spec.aliases) if alias in given), spec.name): spec for spec in specs}
    found = []
    for name in {**of, **given}:
        spec, is_hidden = of.get(name), name in given and name not in shown
        is_secret = is_hidden or (spec is not None and spec.secret)
        hint = "the command does not have it" if spec is None else _hint(spec)
        field = Field(name, shown.get(name, ""), is_hidden, hint=hint if specs else "", secret=is_secret)
        found.append(attrs.evolve(field, is_known=spec is not None or not specs))
    return found


def _as_typed(field: Field, typed: Mapping[str, str]) -> Field:
    """Return the field with the text that was typed before an error; a secret is not repeated."""
    return field if field.secret else attrs.evolve(field, text=typed.get(f"{_GIVEN}{field.name}", field.text))


def _as_example(field: Field) -> Field:
    """Return the field for many jobs, empty and with the value of the first job as an example."""
    return attrs.evolve(field, text="", example="" if field.hidden else field.text)


def _renames(form: Mapping[str, str]) -> dict[str, str]:
    """Return the new name of each argument to be renamed; raise `UsageError` if that was filled in as well."""
    found = {name.removeprefix(_AS): new.strip() for name, new in form.items() if name.startswith(_AS) and new.strip()}
    if both := next((new for new in found.values() if form.get(f"{_GIVEN}{new}")), None):
        raise UsageError(
            f"The argument {both} has a value, and another argument is renamed to it.", "Keep one of the two."
        )
    return found


def _hint(spec: ArgumentSpec) -> str:
    kind = {"string": "text", "integer": "integer", "list": "list: a,b or JSON", "any": "text"}[spec.type]
    words_ = [kind, "optional" if spec.optional else "", "secret" if spec.secret else ""]
    return ", ".join(word for word in words_ if word)


def _text(value: Json) -> str | None:
    """Return a value as the text of a field; None if a browser would not send it back unchanged."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST and "\n" not in text and filters.plain(text) == text else None


def _changes_of(view: StoredJob, form: MultiDict[str, str], edit: Edit, *, is_for_all: bool) -> Edit:
    """Return the edit with what was typed and differs from the job; raise `UsageError` for what cannot be read.

    With `is_for_all` the job is the first of many: an empty field means nothing, one like the first job's counts.
    """
    was = view.arguments_as_they_are
    shown = {} if is_for_all else {name: text for name, value in was.items() if (text := _text(value)) is not None}
    unset = [name for name in form.getlist(_OUT) if name]
    renames = _renames(form)
    values: dict[str, Json] = {}
    for field, text in form.items():
        name = field.removeprefix(_GIVEN)
        if name == field or name in unset or shown.get(name) == text:
            continue
        if text:
            values[name] = _value(name, text, was.get(name))
        elif name in shown:
            unset.append(name)
    command, queue = form.get("command", "").strip(), form.get("queue", "").strip()
    return attrs.evolve(
        edit,
        values=values,
        unset=tuple(unset),
        renames=renames,
        command=command or None if command != view.command else None,
        queue=queue or None if is_for_all or queue != view.queue else None,
        retry="yes" in (form.get("retry"), form.get("first")),
    )


def _value(name: str, text: str, was: Json) -> Json:
    """Return the typed text, or what it says as JSON if the argument was no text before.

    Raise `UsageError` if it is not JSON then. The catalogue turns texts into numbers and lists later.
    """
    if was is None or isinstance(was, str):
        return text
    try:
        return rubyjson.loads(text.encode("utf-8", "surrogatepass"))
    except rubyjson.Unreadable:
        raise UsageError(
            f"The argument {name} was not a string, and is not valid JSON now.", "Write JSON, such as 5 or [1]."
        ) from None
