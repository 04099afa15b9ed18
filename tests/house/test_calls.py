"""Calls name their arguments: whoever reads one need not know the order of six."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "restbroker"
HOT = (
    "broker/",
    "job/job.py",
    "job/redact.py",
    "job/settle.py",
    "servers/api/answer.py",
    "servers/ejabberd/answer.py",
    "servers/ejabberd/connector.py",
    "servers/ejabberd/request.py",
    "store/",
    "transport/lean.py",
)
"""What every job passes: naming arguments costs there. The store speaks Redis' commands, whose words have an order."""
TAKE_ANY_NUMBER = frozenset(
    (
        "TCPServer",
        "_each",
        "_insist",
        "call",
        "choice",
        "command",
        "error_answer",
        "refuse",
        "run",
        "start_soon",
        "suppress",
    )
)
"""Functions that take any number of the same, pass them on, or are another library's."""


def test_no_call_has_more_than_four_positional_arguments_where_no_job_passes() -> None:
    long = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node.func)}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not str(path.relative_to(PACKAGE)).startswith(HOT)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and len(node.args) > 4
        if not any(isinstance(one, ast.Starred) for one in node.args)
        if ast.unparse(node.func).rpartition(".")[2] not in TAKE_ANY_NUMBER
    ]
    assert long == []
