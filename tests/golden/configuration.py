"""What becomes of each key of env.json with right and wrong values, and of whole files: what counts, or the message.

`python -m tests.golden` writes and compares it. A value that changes nothing differs from one that is refused; of one
that counts, it is written what is otherwise in the loaded configuration than without the key. Secrets here are no
secrets, and are written out.
"""

import copy
import enum
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import attrs

from restbroker.config.load import load
from restbroker.config.secret import Secret
from restbroker.errors import ConfigError
from restbroker.events import registry as sources
from restbroker.job.json_types import Json
from restbroker.servers import registry
from tests.golden.documents import DOCUMENTS
from tests.golden.keys import BASES, EVERYWHERE, MORE, Base

_BESIDE: Final[Mapping[str, str]] = {
    "secret": "s3cret-in-a-file-of-32-letters-xx\n",
    "short": "fifteen-letters\n",
    "redis": "redis://hunter2@h\n",
    "empty": "",
    "two-lines": "one\ntwo\n",
    "passwords": "ann:pass-of-ann\nbob:pass-of-bob\n",
}
"""Files beside env.json."""
_ENVIRON: Final = {"SOME_SECRET": "s3cret-in-a-variable"}
_LONG: Final = 120
_WIDE: Final = 140


@attrs.frozen
class Bench:
    """A folder with an env.json."""

    folder: Path

    def loaded(self, document: Json | str) -> Mapping[str, str] | str:
        """What counts, by where it stands; or why it cannot be used."""
        file = self.folder / "env.json"
        # To write over a file takes milliseconds.
        file.unlink(missing_ok=True)
        file.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
        try:
            found = load(file, _ENVIRON, {}, registry.kinds(), sources.kinds())
        except ConfigError as error:
            said = "\n".join([error.message, *([error.hint] if error.hint else [])])
            return said.replace(str(self.folder), "DIR")
        notes = {f"note {note.code}": f"{note.message} {note.hint or ''}".strip() for note in found.notes}
        flat = {**dict(_flat("", found.config)), **notes}
        return {name: value.replace(str(self.folder), "DIR") for name, value in flat.items()}


def keys_text() -> str:
    """Each key with its values."""
    lines: list[str] = []
    with TemporaryDirectory() as folder:
        bench = _bench(folder)
        for base in BASES:
            lines += [f"== {base.name}", *_tried(bench, base), ""]
    return "\n".join(lines)


def files_text() -> str:
    """Each whole file. The first one with all that counts, the others with what is otherwise."""
    lines: list[str] = []
    with TemporaryDirectory() as folder:
        bench = _bench(folder)
        usual: Mapping[str, str] = {}
        for name, document in DOCUMENTS.items():
            found = bench.loaded(document)
            lines += [f"== {name}", *(f"  {line}" for line in _difference(usual, found)), ""]
            if not usual and not isinstance(found, str):
                usual = found
    return "\n".join(lines)


def _bench(folder: str) -> Bench:
    for name, text in _BESIDE.items():
        (Path(folder) / name).write_text(text)
        (Path(folder) / name).chmod(0o600)
    return Bench(Path(folder))


def _tried(bench: Bench, base: Base) -> Iterator[str]:
    for written in base.keys.split():
        name, _, rival = written.partition("-")
        place = f"{base.prefix}.{name}".removeprefix(".")
        without = _with(base.document, place, drop=(name, rival))
        left_out = bench.loaded(without)
        usual = bench.loaded(base.document) if isinstance(left_out, str) else left_out
        assert not isinstance(usual, str), (base.name, usual)
        yield f"  {place}"
        if isinstance(left_out, str):
            yield f"    left out: {' / '.join(_said(left_out, place, None))}"
        alike: dict[str, list[str]] = {}
        for value in (*EVERYWHERE, *MORE.get(name.rpartition(".")[2], ())):
            found = bench.loaded(_with(without, place, value))
            lines = _said(found, place, value) if isinstance(found, str) else _changes(usual, found)
            alike.setdefault("\n        ".join(lines) or "nothing changes", []).append(_shown(value))
        for outcome, values in alike.items():
            shown = "  ".join(dict.fromkeys(values))
            gap = "\n        " if len(shown) + len(outcome) > _WIDE or "\n" in outcome else "  → "
            yield f"    {shown}{gap}{outcome}"


def _with(document: Mapping[str, Json], place: str, value: Json = None, drop: Sequence[str] = ()) -> dict[str, Any]:
    """The document with this value there, or without these members of that object."""
    copied: dict[str, Any] = copy.deepcopy(dict(document))
    *way, last = place.split(".")
    inner = copied
    for part in way:
        inner = inner.setdefault(part, {})
    if not drop:
        inner[last] = value
    for name in drop:
        inner.pop(name.rpartition(".")[2], None)
    return copied


def _said(message: str, place: str, value: Json) -> list[str]:
    """The problems alone, without the place that was looked at and the value that was found there."""
    lines = [line.strip() for line in message.splitlines()]
    problems = [line for line in lines if not line.endswith("cannot be used:") and "config schema`" not in line]
    shown = json.dumps(value, ensure_ascii=False)
    hidden = [line.replace(f"({shown})", "(…)").replace(f"DIR/{value}", "DIR/…") for line in problems]
    return [f"! {line.removeprefix(f'{place}: ')}" for line in hidden]


def _difference(usual: Mapping[str, str], found: Mapping[str, str] | str) -> list[str]:
    return _said(found, "", {}) if isinstance(found, str) else _changes(usual, found)


def _changes(usual: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What is otherwise. What has parts now, or had, is not said to be gone."""
    new = [f"{name} = {value}" for name, value in found.items() if usual.get(name) != value]
    heads = {".".join(name.split(".")[:length]) for name in found for length in range(1, name.count(".") + 1)}
    return new + [f"{name}: gone" for name in usual if name not in found and name not in heads]


def _shown(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONG else f"{text[:_LONG]}… ({len(text)} letters)"


def _flat(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Each part of a loaded value by its place. Values that hold others are followed."""
    kind: type[Any] = type(value)
    if attrs.has(kind) and not isinstance(value, Secret):
        for field in attrs.fields(kind):
            if not field.name.startswith("_") and field.name != "written":
                yield from _flat(f"{name}.{field.name}".removeprefix("."), getattr(value, field.name))
    elif isinstance(value, Mapping):
        if not value:
            yield name, "{}"
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif isinstance(value, tuple | list) and any(attrs.has(type(inner)) for inner in value):
        for index, inner in enumerate(value):
            yield from _flat(f"{name}.{index}", inner)
    else:
        yield name, _plain(value)


def _revealed(secret: Secret) -> str:
    try:
        return secret.reveal()
    except ConfigError as error:
        return f"! {error.message}"


def _plain(value: object) -> str:
    match value:
        case Secret():
            return f"secret {_revealed(value)}"
        case re.Pattern():
            return str(value.pattern)
        case enum.Enum():
            return value.name
        case range():
            return f"{value.start}-{value.stop - 1}"
        case tuple() | list():
            return f"[{', '.join(map(_plain, value))}]"
        case frozenset() | set():
            return f"{{{', '.join(sorted(map(_plain, value)))}}}"
        case str() | bool() | int() | float() | None:
            return json.dumps(value, ensure_ascii=False)
        case Path():
            return str(value)
        case _:
            return type(value).__name__
