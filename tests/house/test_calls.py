"""Calls name their arguments: whoever reads one need not know the order of six."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "restbroker"
MOST_OF_SIX = 20
"""How many calls of the package, of any kind, may have six positional arguments or more."""
HOT = {
    "broker/exchange.py prepare": "makes the exchange of each plain job",
    "broker/poller.py _new_jobs": "makes the job in progress of each job that was fetched",
    "broker/processor.py _call": "makes the call of each try",
    "broker/processor.py _deliver": "settles each job",
    "job/job.py read": "makes the job of each payload",
    "job/redact.py _names_of": "finds the secrets of each payload",
    "transport/lean.py": "carries each request: the exchange and its response",
}
"""What every job passes, where naming arguments costs: a function, or a file that is nothing else; and why."""
TAKE_ANY_NUMBER = frozenset(
    (
        "TCPServer",
        "_call",
        "_call_until_answered",
        "_each",
        "_insist",
        "_retry",
        "ask",
        "call",
        "choice",
        "command",
        "error_answer",
        "call_until_up",
        "partial",
        "refuse",
        "run",
        "start_soon",
        "suppress",
    )
)
"""Functions that take any number of the same (Redis' own commands), pass them on, or are another library's."""


def calls(most: int) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call with more positional arguments than that, after its file and function."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and len(node.args) > most:
                around = [one.name for one in functions if one.lineno <= node.lineno <= (one.end_lineno or 0)]
                yield f"{path.relative_to(PACKAGE)} {around[-1] if around else ''}", node


def test_no_call_has_more_than_four_positional_arguments_where_no_job_passes() -> None:
    long = [
        f"{place}:{node.lineno}: {ast.unparse(node.func)}"
        for place, node in calls(4)
        if place not in HOT
        if place.partition(" ")[0] not in HOT
        if not any(isinstance(one, ast.Starred) for one in node.args)
        if ast.unparse(node.func).rpartition(".")[2] not in TAKE_ANY_NUMBER
    ]
    assert long == []


def test_few_calls_have_six_positional_arguments_or_more() -> None:
    long = [f"{place}:{node.lineno}: {ast.unparse(node.func)}" for place, node in calls(5)]
    assert len(long) <= MOST_OF_SIX, "\n".join(long)


def test_each_hot_place_has_a_call_that_needs_it() -> None:
    needed = {place for place, _ in calls(4)} | {place.partition(" ")[0] for place, _ in calls(4)}
    assert set(HOT) - needed == set()
