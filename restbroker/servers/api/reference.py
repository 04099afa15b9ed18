"""The page of Openfire's commands, docs/servers/openfire-commands.md, made from both catalogues.

`make reference` writes it. Always holds: a test compares the page with this; each command is in it once, with the test
that drives it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from restbroker.job.command import DANGEROUS, CommandSpec, Repeat
from restbroker.servers import registry

PAGE: Final = Path("docs") / "servers" / "openfire-commands.md"
_HEAD: Final = """\
# Openfire's commands

This page is made from the code (`make reference`). [openfire.md](openfire.md) says what they mean, and what their
answers do. **Bold** is what a job must give. "Again" is what becomes of a job that was sent and not answered: *yes*, it
is sent again; *done*, it is, and that it is so already counts as done; *no*, it may happen twice, so that it is sent
[at most twice more](../producers.md#sent-and-not-answered). In brackets: what touches the server itself, for which a
[token](../tokens.md) must say so. The last column is the case of the test that sends the command and looks at
each byte of its request that matters. `restbroker commands` shows two tags of the Chat API: *untested*, which
nobody could try, since it needs a telephone exchange; *documented*, which the plugin's own page has, while the others
were read in its source.

A job for the REST API plugin may give `host` beside what is listed, as for any other server. It goes nowhere: it must
be the target's `Domain`, so that no job meant for another server is done on this one.
"""
_TABLE: Final = """
| command | request | arguments | again | since | test |
|---|---|---|---|---|---|
"""
_TITLES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "openfire-rest": (
            "The REST API plugin: kind `openfire-rest`",
            "Below `/plugins/restapi/v1`; `tests/servers/test_openfire_rest_commands.py`.",
        ),
        "openfire-chat": (
            "The Chat API: kind `openfire-chat`",
            "Below `/rest/api/restapi/v1`; `tests/servers/test_openfire_chat_commands.py`.",
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
    commands, requests = registry.catalogue(kind).commands, registry.requests(kind)
    yield from (_row(commands[name], requests[name]) for name in sorted(commands))


def _row(spec: CommandSpec, request: str) -> str:
    dangers = [tag.removeprefix(DANGEROUS) for tag in sorted(spec.tags) if tag.startswith(DANGEROUS)]
    name = f"`{spec.name}`" + (f" [{', '.join(dangers)}]" if dangers else "")
    name += " *untested*" if "untested" in spec.tags else ""
    given = [f"`{one.name}`" if one.optional else f"**`{one.name}`**" for one in spec.arguments]
    cells = (name, f"`{request}`", " ".join(given), _AGAIN[spec.repeat], spec.since or "", f"`{spec.name}`")
    return f"| {' | '.join(cells)} |\n"
