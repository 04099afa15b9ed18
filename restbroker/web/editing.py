"""The form that edits one job: made from the server's catalogue, its difference shown before anything is changed.

`web.site` serves it. Always holds: no secret is in any of its pages, neither the job's nor what somebody typed: a
hidden argument stays as it is unless it is replaced, and what was typed waits in this process until it is confirmed.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import trio
from quart import Response, request
from werkzeug.datastructures import MultiDict

from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.job.command import ArgumentSpec
from restbroker.job.json_types import Json
from restbroker.operate import act, find
from restbroker.operate.act import Action, Chosen, Progress
from restbroker.operate.edit import Edit, differences
from restbroker.operate.enqueue import serving_if_told
from restbroker.operate.entry import Entry, Look
from restbroker.serving.app import Refuse
from restbroker.store.client import Client
from restbroker.web import words
from restbroker.web.desk import Desk
from restbroker.web.sets import SETS
from restbroker.web.shell import Shell

_LOOK_S: Final = 2.0
_LONGEST: Final = 8192
_MOST_WAITING: Final = 100
_WAITS_S: Final = 900.0
_WHY_LIMIT: Final = 200
_GIVEN: Final = "arg."
"""Before the name of an argument in the form."""
_OUT: Final = "out"
"""The box of a hidden argument that is to be taken out."""


@attrs.frozen
class Field:
    """One argument in the form. `hidden`: it has a value that is not shown. `hint`: what the catalogue says of it.

    `secret`: what is typed is not shown either.
    """

    name: str
    text: str
    hidden: bool
    hint: str
    secret: bool


@attrs.frozen
class _Waiting:
    """An edit that was shown and is not confirmed yet."""

    name: str
    key: str
    edit: Edit = attrs.field(repr=False)
    until_s: float


@attrs.frozen
class _Form:
    """A job, and what the form offers of it. `entry` None: it is gone."""

    entry: Entry | None
    fields: tuple[Field, ...] = ()
    command: str = ""
    queue: str = ""
    queues: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class EditPages:
    """The views. `refuse` says why there is none."""

    desk: Desk
    shell: Shell
    refuse: Refuse
    _waiting: dict[str, _Waiting] = attrs.field(factory=dict, repr=False)

    async def ask(self, name: str, key: str) -> Response:
        """The form as the job is, or as another command would have it."""
        return await self._form(name, key, {"command": request.args.get("command", "")})

    async def act(self, name: str, key: str) -> Response:
        """The form, filled in: what it would change. Then the same, confirmed."""
        form = await request.form
        if (token := form.get("edit")) is not None:
            return await self._confirmed(name, key, token, form)
        try:
            edit, progress = await self._tried(name, key, form)
        except UsageError as error:
            return await self._form(name, key, form, f"{error.message} {error.cure or ''}")
        if not progress.previews:
            why = " ".join(progress.refused) or "The job is not there any more, or not as it was."
            return await self._form(name, key, form, why)
        return self._difference(name, key, edit, progress)

    async def _form(self, name: str, key: str, typed: Mapping[str, str], wrong: str | None = None) -> Response:
        if self.shell.settings.is_read_only:
            return self.refuse(404, "NotFound", "Nothing can be changed on these pages.")
        shown = await self.desk.ask(lambda client: self._looked_at(client, name, key, typed))
        if shown.entry is None:
            return self.refuse(404, "JobGone", "This job is not here, or not as it was.", "Look at the list again.")
        html = await self.shell.page_of_jobs(
            "edit.html", name=name, key=key, title="Edit a job", form=shown, entry=shown.entry, wrong=wrong
        )
        return Response(html, 200 if wrong is None else 400)

    def _looked_at(self, client: Client, name: str, key: str, typed: Mapping[str, str]) -> _Form:
        look = self._look(client, name, key)
        if look is None:
            return _Form(None)
        wanted = typed.get("command", "").strip() or look.command or ""
        known = self.desk.known()
        spec = known.spec(look.queue, wanted)
        entry = look.entry()
        fields = [_as_typed(one, typed) for one in _fields(look, entry, () if spec is None else spec.arguments)]
        queue = typed.get("queue", look.queue or "")
        return _Form(entry, tuple(fields), wanted, queue, tuple(sorted(known.targets)))

    def _look(self, client: Client, name: str, key: str) -> Look | None:
        if not find.is_key(key):
            return None
        found = find.locate(client, SETS[name], key, _LOOK_S).member
        return None if found is None else Look(*found, self.desk.known())

    async def _tried(self, name: str, key: str, form: MultiDict[str, str]) -> tuple[Edit, Progress]:
        """What was typed, and what it would change. Raises `UsageError` for what cannot be read."""
        who = self.shell.who()

        def work(client: Client) -> tuple[Edit, Progress]:
            look = self._look(client, name, key)
            if look is None:
                raise UsageError("The job is not there any more, or not as it was.", "Look at the list again.")
            edit = _typed(look, form, Edit(tokens=self.desk.tokens(), version=lambda queue: _version(client, queue)))
            return edit, self._performed(
                client, name, key, Action("edit", who, repeat_unsafe=True, edit=edit), dry_run=True
            )

        return await self.desk.ask(work)

    def _performed(self, client: Client, name: str, key: str, action: Action, *, dry_run: bool) -> Progress:
        steps = act.perform(client, SETS[name], action, Chosen((key,)), self.desk.known(), dry_run=dry_run)
        return [*steps][-1]

    def _difference(self, name: str, key: str, edit: Edit, progress: Progress) -> Response:
        ((before, after),) = progress.previews
        now_s = trio.current_time()
        for token, one in [*self._waiting.items()]:
            if one.until_s < now_s or len(self._waiting) >= _MOST_WAITING:
                del self._waiting[token]
        token = secrets.token_urlsafe(24)
        self._waiting[token] = _Waiting(name, key, edit, now_s + _WAITS_S)
        html = self.shell.page(
            "edit-asked.html",
            name=name,
            key=key,
            title="Send it changed?" if edit.retry else "Change it?",
            entry=before,
            changes=differences(before, after, edit.values),
            token=token,
            retry=edit.retry,
        )
        return Response(html)

    async def _confirmed(self, name: str, key: str, token: str, form: MultiDict[str, str]) -> Response:
        waiting = self._waiting.pop(token, None)
        if waiting is None or (waiting.name, waiting.key) != (name, key) or waiting.until_s < trio.current_time():
            return await self._form(name, key, {}, "What was typed is not known any more: fill the form in again.")
        why = form.get("why", "").strip()[:_WHY_LIMIT]
        wanted = Action("edit", self.shell.who(), why=why, repeat_unsafe=form.get("repeat_unsafe") == "yes")

        def work(client: Client) -> Progress:
            edit = attrs.evolve(waiting.edit, tokens=self.desk.tokens(), version=lambda queue: _version(client, queue))
            return self._performed(client, name, key, attrs.evolve(wanted, edit=edit), dry_run=False)

        progress = await self.desk.ask(work)
        if progress.refused:
            return await self._form(name, key, {}, " ".join(progress.refused))
        title = "Edit: done" if progress.done else "Edit: nothing was changed"
        return Response(self.shell.page("edited.html", name=name, title=title, done=progress.done))


def _version(client: Client, queue: str) -> str | None:
    found = serving_if_told(client, queue)
    return None if found is None else found.server_version


def _fields(look: Look, entry: Entry, specs: Sequence[ArgumentSpec]) -> list[Field]:
    """Those that the command has, then those that only the job has."""
    given = entry.arguments if isinstance(entry.arguments, dict) else {}
    shown = {name: text for name, value in look.arguments_as_they_are.items() if (text := _text(value)) is not None}
    of = {next((alias for alias in (one.name, *one.aliases) if alias in given), one.name): one for one in specs}
    found = []
    for name in {**of, **given}:
        spec, is_hidden = of.get(name), name in given and name not in shown
        is_secret = is_hidden or (spec is not None and spec.secret)
        found.append(Field(name, shown.get(name, ""), is_hidden, "" if spec is None else _hint(spec), is_secret))
    return found


def _as_typed(field: Field, typed: Mapping[str, str]) -> Field:
    """With what was typed before something was wrong."""
    return field if field.secret else attrs.evolve(field, text=typed.get(f"{_GIVEN}{field.name}", field.text))


def _hint(spec: ArgumentSpec) -> str:
    kind = {"string": "text", "integer": "integer", "list": "list: a,b or JSON", "any": "text"}[spec.type]
    words_ = [kind, "may be left out" if spec.optional else "", "secret" if spec.secret else ""]
    return ", ".join(word for word in words_ if word)


def _text(value: Json) -> str | None:
    """A value as the form has it; None for one that would not come back from a browser as it is."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST and "\n" not in text and words.plain(text) == text else None


def _typed(look: Look, form: MultiDict[str, str], edit: Edit) -> Edit:
    """What was typed that is not as it was."""
    was = look.arguments_as_they_are
    values: dict[str, Json] = {}
    unset = [name for name in form.getlist(_OUT) if name]
    for field, text in form.items():
        name = field.removeprefix(_GIVEN)
        if name == field or name in unset or (name in was and _text(was[name]) == text):
            continue
        if text:
            values[name] = _value(name, text, was.get(name))
        elif name in was and _text(was[name]) is not None:
            unset.append(name)
    command, queue = form.get("command", "").strip(), form.get("queue", "").strip()
    return attrs.evolve(
        edit,
        values=values,
        unset=tuple(unset),
        command=command if command != look.command else None,
        queue=queue if queue != look.queue else None,
        retry=form.get("retry") == "yes",
    )


def _value(name: str, text: str, was: Json) -> Json:
    """A text, or JSON in the place of what was no text; the catalogue makes numbers and lists of texts."""
    if was is None or isinstance(was, str):
        return text
    try:
        return rubyjson.loads(text.encode("utf-8", "surrogatepass"))
    except rubyjson.Unreadable:
        raise UsageError(
            f"The argument {name} was no text, and is no JSON now.", "Write JSON, such as 5 or [1]."
        ) from None
