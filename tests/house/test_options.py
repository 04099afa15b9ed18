"""An option of the command line looks the same in every command: one text, one word for its value, one place.

It is declared once, where it means the same. Two options that several commands have stand in the same order in each.
"""

import ast
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import typer

from restbroker.cli.app import COMMANDS, load
from restbroker.cli.examples import Command, parts

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

OTHER_VALUES = {
    "--group": "a failure group's ID; the name of a contact's group, a TEXT",
    "--retry": "a number of tries, N; a flag",
    "--to": "a QUEUE; the JID of a recipient",
}
"""What has another value in the commands where it means something else."""
LAST = ["--dry-run", "--yes", "--json", "--config"]
"""What stands last in each command, in this order."""


def commands() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each command, and each verb, with the metavars of its options in their order; a flag's is empty."""
    for name in COMMANDS:
        command = load(name)
        yield name, metavars(command)
        for verb, below in parts(command).items():
            yield f"{name} {verb}", metavars(below)


def metavars(command: Command) -> dict[str, str]:
    context, found = typer.Context(command), {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or not record[0].startswith("-") or "--help" in record[0]:
            continue
        words = record[0].replace(",", "").split()
        name = next(word for word in words if word.startswith("--"))
        found[name] = " ".join(word for word in words if not word.startswith(("-", "/")))
    return found


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


def test_an_option_has_one_metavar_and_it_is_a_word() -> None:
    found: dict[str, set[str]] = {}
    for _, options in commands():
        for name, metavar in options.items():
            found.setdefault(name, set()).add(metavar)
    assert len(found) > 80, "The options are no longer found."
    assert {name for name, several in found.items() if len(several) > 1} == OTHER_VALUES.keys()
    odd = {
        name: one for name, several in found.items() for one in several if not one.replace("=", "").isalpha() and one
    }
    assert not odd, "Write a word in capitals, and what it may be in the help."
    assert all(one == one.upper() for several in found.values() for one in several)


def test_two_options_stand_in_the_same_order_in_every_command() -> None:
    orders: dict[tuple[str, str], list[str]] = {}
    for command, options in commands():
        for pair in combinations(options, 2):
            orders.setdefault(pair, []).append(command)
    both = {pair: (there, orders[pair[::-1]]) for pair, there in orders.items() if pair[::-1] in orders}
    assert not both, (
        f"In one order here, in the other there: { {pair: both[pair] for pair in both if pair < pair[::-1]} }"
    )


def test_the_last_options_are_the_same_in_every_command() -> None:
    for command, options in commands():
        last = [name for name in LAST if name in options]
        assert [*options][len(options) - len(last) :] == last, command
