"""Makes the manual pages: restbroker(1), one for each command, and restbroker-env.json(5).

hatch_build.py puts them into each wheel; they are made of what `--help` and docs/configuration.md say. Always holds: a
page has no date and no version, so that two builds of a tree are the same; all but ASCII is written as groff's escapes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import typer

from restbroker.cli.app import COMMANDS, command_line, load
from restbroker.cli.examples import Command, examples, parts
from restbroker.console.exits import MEANINGS

_ROOT: Final = Path(__file__).parents[2]
_TOP: Final = "restbroker"
_FILES: Final = """\
Configuration: the file named with `--config`, else by `$RESTBROKER_CONFIG`, else `./env.json`, else
`/etc/restbroker/env.json`; see restbroker-env.json(5)."""


def pages() -> Mapping[str, str]:
    """Return each page's text by its path below share/man."""
    found = {"man1/restbroker.1": _whole()}
    for name in COMMANDS:
        found[f"man1/restbroker-{name}.1"] = _of_command(name)
    found["man5/restbroker-env.json.5"] = _of_file()
    return found


def _whole() -> str:
    root = command_line()
    line = "durable bridge between Sidekiq-format job queues in Redis and the HTTP APIs of XMPP servers"
    commands = [(f"restbroker-{name}(1)", what) for name, what in COMMANDS.items()]
    codes = [(str(int(code)), what) for code, what in MEANINGS.items()]
    parts = [
        *_begin(_TOP, "1", line),
        *_section("SYNOPSIS", [_bold("restbroker"), "[OPTIONS] COMMAND [ARGUMENTS]"]),
        *_section("DESCRIPTION", _paragraphs(f"{root.help}\n\nEach command has a page of its own.")),
        *_section("COMMANDS", _terms(commands)),
        *_section("OPTIONS", _terms(_options(root, _context(_TOP)))),
        *_section("EXIT STATUS", _terms(codes)),
        *_section("FILES", _paragraphs(_FILES)),
        *_section("EXAMPLES", _examples(_TOP)),
        *_section("SEE ALSO", ["restbroker-env.json(5)"]),
    ]
    return _joined(parts)


def _of_command(name: str) -> str:
    command, context = load(name), _context(_TOP)
    lines = [*_begin(f"restbroker-{name}", "1", COMMANDS[name].rstrip(".")), *_section("SYNOPSIS", ())]
    lines += _usage(command, context, name)
    lines += _section("DESCRIPTION", _paragraphs(command.help or ""))
    lines += _section("OPTIONS", _terms(_options(command, context)))
    for verb, below in parts(command).items():
        lines += [f'.SH "{_plain(f"{name} {verb}").upper()}"', *_usage(below, context, f"{name} {verb}")]
        lines += [".PP", *_paragraphs(below.help or ""), *_terms(_options(below, context))]
        lines += [".PP", "Examples:", *_examples(f"{name} {verb}")]
    lines += _section("EXAMPLES", _examples(name))
    lines += _section("EXIT STATUS", ["See restbroker(1)."])
    lines += _section("SEE ALSO", ["restbroker(1), restbroker-env.json(5)"])
    return _joined(lines)


def _of_file() -> str:
    text = (_ROOT / "docs" / "configuration.md").read_text("utf-8")
    parts = [*_begin("restbroker-env.json", "5", "configuration of restbroker"), *_section("DESCRIPTION", ())]
    for block in re.split(r"\n\n+", text.partition("\n\n")[2]):
        parts += _block(block)
    parts += _section("SEE ALSO", ["restbroker(1), restbroker-config(1), restbroker-check(1)"])
    return _joined(parts)


def _block(block: str) -> Iterator[str]:
    """A paragraph, a heading, a list, a table or a piece of JSON, which must not have an empty line in it."""
    lines = block.strip("\n").splitlines()
    match lines[0][:1]:
        case "`" if not lines[0].startswith("```"):
            yield from (".PP", _line(_said(" ".join(lines))))
        case "#":
            level, _, title = lines[0].partition(" ")
            yield f'.{"SH" if level == "##" else "SS"} "{_plain(_said(title))}"'
        case "|":
            for cells in (re.split(r"(?<!\\)\|", line[1:-1]) for line in lines[2:]):
                name, *rest = (_said(cell.strip()) for cell in cells)
                *forms, meaning = rest
                form = "; default ".join(form for form in forms if form).replace("default mandatory", "mandatory")
                yield from _terms([(name + (f" ({form})" if form else ""), meaning)])
        case "`":
            yield from (".PP", ".nf", *map(_line, lines[1:-1]), ".fi")
        case "-":
            for item in re.split(r"\n(?=- )", "\n".join(lines)):
                yield from (".IP \\(bu 2", _line(_said(" ".join(item[2:].split()))))
        case _:
            yield from (".PP", _line(_said(" ".join(lines))))


def _begin(name: str, section: str, line: str) -> list[str]:
    begun = line[:1].lower() + line[1:]
    heading = f'.TH "{_plain(name.upper())}" {section} "" "restbroker" "restbroker"'
    return [heading, ".SH NAME", f"{_plain(name)} \\- {_plain(begun)}"]


def _section(title: str, lines: Iterable[str]) -> list[str]:
    within = list(lines)
    return [f'.SH "{title}"', *within] if within or title in ("SYNOPSIS", "DESCRIPTION") else []


def _context(name: str) -> typer.Context:
    root = command_line()
    return typer.Context(root, info_name=name, **root.context_settings)


def _usage(command: Command, parent: typer.Context, path: str) -> list[str]:
    pieces = command.collect_usage_pieces(typer.Context(command, parent=parent, info_name=path))
    # Some releases of Typer write {JID}.
    return [_bold(f"restbroker {path}"), _line(" ".join(piece.strip("{}") for piece in pieces))]


def _options(command: Command, parent: typer.Context) -> Iterator[tuple[str, str]]:
    context = typer.Context(command, parent=parent, info_name=command.name)
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield record


def _terms(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [line for term, text in rows for line in (".TP", _bold(term), _line(text or "\\&"))]


def _paragraphs(text: str) -> list[str]:
    found = [" ".join(part.split()) for part in text.replace("\b", "").split("\n\n")]
    return [line for number, part in enumerate(found) for line in ([".PP"] if number else []) + [_line(_said(part))]]


def _examples(path: str) -> list[str]:
    lines = examples().get(path, ())
    return [".PP", ".nf", *map(_line, lines), ".fi"] if lines else []


def _said(text: str) -> str:
    """Without Markdown's links, stars and back quotes."""
    text = re.sub(r"\[([^\]]*)\]\([^)\s]*\)", r"\1", text).replace(r"\|", "|")
    return text.replace("**", "").replace("`", "")


def _bold(text: str) -> str:
    return f".B {_plain(text)}"


def _line(text: str) -> str:
    plain = text if text == "\\&" else _plain(text)
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


def _plain(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("\n", " ")
    return "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in escaped)


def _joined(parts: Iterable[str]) -> str:
    lines = list(parts)
    # Behind a heading, and before another macro, it would say nothing.
    told = [line for line, before in zip(lines, ["", *lines], strict=False) if line != ".PP" or before[:3] != ".SH"]
    return "\n".join(told) + "\n"


def write(folder: Path) -> None:
    """Write each page below the folder, as share/man has them."""
    for path, text in pages().items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="ascii")
