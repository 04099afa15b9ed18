"""The page of Openfire's commands, docs/servers/openfire-commands.md, made from both catalogues.

`make docs` writes it. Always holds: a test compares the page with this; each command is in it once.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from restbroker.job.command import DANGEROUS, CommandSpec, Repeat
from restbroker.servers.openfire.chat import catalogue as chat
from restbroker.servers.openfire.rest import catalogue as rest

PAGE: Final = Path("docs") / "servers" / "openfire-commands.md"
_HEAD: Final = """\
# Openfire's commands

Read what these commands mean and how they answer: [the REST API](openfire-details.md), [the Chat
API](openfire-chat-details.md). Arguments in braces and in **bold** are required. "Again" says what happens to a job
that was sent but not answered: *yes*, it is sent again; *done*, it is sent again, and "exists" counts as done; *no*,
it may happen twice, so it is sent [at most twice more](../once.md#sent-but-not-answered). In brackets: the version
that a command needs, and what of the server itself it touches, which a [token](../tokens.md) must allow. `make docs`
writes this page from the code.

A job for the REST API plugin may give `host`, as for other servers: it must be the target's `Domain`, and is not
sent.
"""
_TABLE: Final = """
| command | request | other arguments | again |
|---|---|---|---|
"""
_TITLES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "openfire-rest": (
            "The REST API plugin: kind `openfire-rest`",
            "Below `/plugins/restapi/v1`.",
        ),
        "openfire-chat": (
            "The Chat API: kind `openfire-chat`",
            "Below `/rest/api/restapi/v1`, the stream being that of `from`.",
        ),
    }
)
_AGAIN: Final[Mapping[Repeat, str]] = MappingProxyType({"safe": "yes", "already_done": "done", "unsafe": "no"})


def page() -> str:
    """Return the text of the page."""
    return "".join([_HEAD, *(part for kind in _TITLES for part in _section(kind))])


def write(root: Path = Path()) -> None:
    """Write the page to its place below `root`."""
    (root / PAGE).write_text(page(), "utf-8")


def _section(kind: str) -> Iterator[str]:
    title, where = _TITLES[kind]
    yield f"\n## {title}\n\n{where}\n{_TABLE}"
    module, entries = (rest, rest.TABLE) if kind == "openfire-rest" else (chat, chat.table("source"))
    for name, spec in sorted(module.for_version(None).commands.items()):
        yield _row(spec, entries[name].request.partition("?")[0])


def _row(spec: CommandSpec, request: str) -> str:
    dangerous = [tag.removeprefix(DANGEROUS) for tag in sorted(spec.tags) if tag.startswith(DANGEROUS)]
    notes = [*dangerous, *([spec.since] if spec.since else [])]
    name = f"`{spec.name}`" + (f" [{', '.join(notes)}]" if notes else "")
    others = [argument for argument in spec.arguments if f"{{{argument.name}}}" not in request]
    given = [f"`{argument.name}`" if argument.optional else f"**`{argument.name}`**" for argument in others]
    return f"| {name} | `{request}` | {' '.join(given)} | {_AGAIN[spec.repeat]} |\n"
