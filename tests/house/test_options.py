"""An option of the command line is declared once, so that it has one text wherever it means the same."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "restbroker"
SHARED = "console/options.py"
OTHER_MEANINGS = {
    "--after": "a place in a set, as a list printed it; in a queue, the number of a job",
    "--group": "a group of failed jobs; of a contact",
    "--jobs": "how many jobs of each queue or set are looked at; how many `verify` pushes",
    "--processes": "how many `run` starts; how many `verify` tests",
    "--queue": "where a new job goes; where an edited one goes; the queue of a new configuration",
    "--redis": "of a new configuration; what `verify` tests",
    "--retry": "how often a new job is tried; run an edited job now",
    "--server": "of a new configuration; of the demo",
    "--source": "whose test is wanted; whose events are shown",
    "--stats": "of a new configuration; of this process alone",
    "--version": "of restbroker; of ejabberd's API",
}
"""What these mean in the commands that declare them: something else in each."""


def declarations() -> Iterator[tuple[str, str]]:
    """Yield each option's name that begins with `--`, and the file that declares it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        tree = ast.parse(path.read_text())
        implicit = {
            id(call): f"--{arg.arg.replace('_', '-')}"
            for arg in ast.walk(tree)
            if isinstance(arg, ast.arg) and arg.annotation is not None
            for call in ast.walk(arg.annotation)
        }
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or ast.unparse(call.func) != "typer.Option":
                continue
            names = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if names:
                yield from ((name, file) for name in names if name.startswith("--"))
            elif not call.args and id(call) in implicit:
                yield implicit[id(call)], file


def test_an_option_that_means_the_same_in_several_commands_is_declared_once() -> None:
    files: dict[str, set[str]] = {}
    for name, file in declarations():
        files.setdefault(name, set()).add(file)
    assert len(files) > 80, "The declarations are no longer found."
    twice = {name: sorted(there) for name, there in files.items() if len(there) > 1}
    again = twice.keys() - OTHER_MEANINGS.keys()
    assert not again, (
        f"Declare each of them once in {SHARED}, as an alias; if two mean different things, give both an alias there: "
        f"{ {name: twice[name] for name in sorted(again)} }"
    )
    assert twice.keys() == OTHER_MEANINGS.keys(), "Some of OTHER_MEANINGS are declared once now: take them out."


def test_two_aliases_of_one_option_have_two_texts() -> None:
    texts: dict[str, list[str]] = {}
    for call in ast.walk(ast.parse((PACKAGE / SHARED).read_text())):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "typer.Option":
            name = ast.literal_eval(call.args[0])
            texts.setdefault(name, []).extend(
                ast.unparse(keyword) for keyword in call.keywords if keyword.arg in {"help", "max"}
            )
    same = {name for name, found in texts.items() if len(found) != len(set(found)) and name != "--limit"}
    assert not same, f"One alias is enough for {sorted(same)}."
