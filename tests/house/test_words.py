"""The code speaks the field's words: names that were replaced do not come back, and no name is a bare participle.

`words.txt` has the names that were replaced, one a line, without leading underscores: classes,
functions, methods, modules, public attributes of public classes, members of enumerations, the public type aliases and
constants of modules, and what a module calls its imports. `PARTS` and `PAIRS` hold for the parameters of functions too.
Local variables, nested functions and private attributes are free.

A public class, function, method or type alias is a noun of the domain or an imperative verb. A participle alone
(`Told`, `hung`, `matching`) leaves open what it is about. A constant in capitals may be one: it is a state or a code.
"""

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "restbroker"
REPLACED = frozenset((HERE / "words.txt").read_text().split())

ATTRIBUTES: Final = frozenset({
    "AckBuffer.ready", "Acker.ready", "Acker.refused", "ActionForm.confirmed", "ActionResult.failed",
    "ActionResult.refused", "ActionResult.taken", "ActionResult.unknown", "Answers.expected", "AuditEntry.place",
    "AuditEntry.refused", "BadValue.expected", "BatchRecord.failed", "BatchRecord.pushed", "Breaker.stopped",
    "ClearProgress.ended", "Executions.failed", "Failures.reported", "FastPath.ready", "FileContents.refused",
    "Form.expected", "Generation.replaced", "GiveBackResult.moved", "GiveBackResult.refused",
    "ImportProgress.changed", "ImportProgress.refused", "InputProgress.pushed", "Items.expected", "Items.item",
    "JobSearch.refused", "MergedMetrics.expected", "Minute.failed", "Minute.processed", "Names.expected",
    "NotFound.searched", "NotFound.unserved", "Overview.failed", "Overview.processed", "Part.repaired",
    "PartialExchange.received", "PoisonDetector.ready", "Poller.limited", "Poller.ready", "Processor.ready",
    "Progress.ended", "Progress.refused", "ReadyBuffer.closed", "Recovery.ready", "Recovery.refused",
    "RefreshResult.failed", "Report.failed", "RestartBackoff.changed", "Result.unfinished", "Retry.repaired",
    "Rights.unknown", "SearchResult.refused", "Summary.failed", "Summary.pushed", "Summary.rejected",
    "Takeover.refused", "Tally.place", "Tally.refused", "Target.delivered", "Target.failed", "Target.limited",
    "Timeline.refused", "Token.signed", "Type.item", "Verdict.lost", "Verdict.unexpected", "View.refused",
    "WaitingJob.place", "WaitingJob.waited_s", "Worker.cancelled", "WorkerPool.ready"
})  # fmt: skip
"""Attributes that may have a word of `words.txt`: they count what is so, or have it, and are read beside their class.

`summary.failed` is a number of jobs, where a function `failed` would be a riddle. Several are members of `--json`, of
records in Redis or of metrics too, which keep their names: `AuditEntry.place`, `Tally.place` and `WaitingJob.place`.
"""

OTHERS: Final = frozenset({"place", "_place", "_Closed", "LOGGED_IN", "NOT_LOGGED_IN", "READY", "UNKNOWN"})
"""Other names that may have a word of `words.txt`, in this spelling alone.

`store.sets.place`, with its helper, is a verb; the constants are states of a session, of a server and of a value;
`_Closed` stands in for an output that was closed.
"""

PARTS: Final = frozenset({
    "anew", "arrival", "basket", "baskets", "beat", "beats", "committer", "cure", "cures", "dangers", "deed",
    "deeds", "desk", "desks", "door", "doubt", "doubts", "errand", "errands", "facts", "fallen", "flights", "gate",
    "gates", "he", "heard", "her", "him", "his", "inlet", "judge", "judged", "judgement", "judges", "judging",
    "knowledge", "lane", "lanes", "leash", "leashes", "manner", "mend", "mends", "nobody", "nowhere", "pace",
    "parked", "review", "samehost", "scene", "somebody", "stage", "story", "teller", "tellers", "told", "trouble",
    "turn", "turns", "visit", "visits", "voice", "whoever", "wish", "wishes"
})  # fmt: skip
"""Words that may be in no name, alone or with others (`lane_count`, `GateBoard`)."""

PAIRS: Final = frozenset({
    "gave_up", "given_up", "gone_back", "hand_over", "handed_over", "in_hand", "pushed_back", "put_off", "went_back"
})  # fmt: skip
"""Pairs of words that may be in no name, alone or with others (`hand_over_job`, `InHandJobs`)."""

RESULTS: Final = frozenset({"Delivered", "Rejected", "Deferred", "Denied", "Expired", "Applied", "Gone", "Refused"})
"""Results, the members of one union each, which `match` takes apart.

The first four are what became of a job at its server, in the words of logs, metrics and `job/outcome.py`, beside
`Uncertain` and `Unsent`; the others are what a script in Redis did, beside `Clash` (`store/codes.py`).
"""

NOUNS: Final = frozenset({
    "beginning", "feed", "finding", "greeting", "listing", "mapping", "need", "pending", "scheduled", "spelling"
})  # fmt: skip
"""Nouns and a verb that only end like participles, `pending` (rows), and the command `restbroker scheduled`."""

IRREGULAR: Final = frozenset({
    "begun", "done", "drawn", "found", "given", "gone", "got", "heard", "held", "hung", "kept", "known",
    "left", "lost", "made", "met", "said", "seen", "sent", "shown", "taken", "told", "written"
})  # fmt: skip


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module or class, those under `if`, `try` and `with` too; none inside a definition."""
    for one in body:
        yield one
        if not isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from statements(inner for inner in ast.iter_child_nodes(one) if isinstance(inner, ast.stmt))
            handlers = [inner for inner in ast.iter_child_nodes(one) if isinstance(inner, ast.ExceptHandler)]
            yield from statements(inner for handler in handlers for inner in handler.body)


def assigned(one: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement assigns."""
    match one:
        case ast.Assign(targets=targets):
            parts = [part for target in targets for part in ast.walk(target)]
        case ast.AnnAssign(target=target):
            parts = [target]
        case _:
            return
    yield from (part.id for part in parts if isinstance(part, ast.Name))


def public_attributes(node: ast.ClassDef) -> Iterator[str]:
    """Yield the public attributes of a class: those that it declares, and those that its methods set on `self`."""
    for one in statements(node.body):
        yield from assigned(one)
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ast.walk(one):
                match part:
                    case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                        yield name


def definitions(
    path: Path, body: Iterable[ast.stmt] | None = None, of: str = ""
) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield the classes and functions of a module, and those inside its classes, with where they stand."""
    for node in statements(ast.parse(path.read_text()).body if body is None else body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield of, node
        if isinstance(node, ast.ClassDef):
            yield from definitions(path, node.body, node.name)


def module_names(path: Path) -> Iterator[str]:
    """Yield the public names that a module assigns outside definitions: type aliases, constants and others."""
    for one in statements(ast.parse(path.read_text()).body):
        yield from (name for name in assigned(one) if not name.startswith("_"))


def import_names(path: Path) -> Iterator[str]:
    """Yield what a module calls its imports, where it renames them."""
    for one in ast.walk(ast.parse(path.read_text())):
        if isinstance(one, ast.Import | ast.ImportFrom):
            yield from (name.asname for name in one.names if name.asname is not None)


def names_in(path: Path) -> Iterator[str]:
    """Yield the names that must not be in `words.txt`; those of attributes after a dot."""
    yield path.parent.name if path.stem == "__init__" else path.stem
    yield from module_names(path)
    yield from import_names(path)
    for _, node in definitions(path):
        yield node.name
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            attributes = {name for name in public_attributes(node) if not name.startswith("_")}
            yield from (f"{node.name}.{name}" for name in sorted(attributes))


def parameters_in(path: Path) -> Iterator[str]:
    """Yield the parameters of a module's functions and methods."""
    for _, node in definitions(path):
        if not isinstance(node, ast.ClassDef):
            yield from (one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg))


def was_replaced(name: str) -> bool:
    """Tell whether a name came back: a word in small letters in any spelling, one with a capital as it is written.

    A constant in capitals that is a participle (`REFUSED`) is a state or a code.
    """
    _, dot, attribute = name.partition(".")
    word = attribute if dot else name.lstrip("_")
    if has_replaced_part(word):
        return True
    is_state = word.isupper() and word.isalpha() and is_participle(word.lower())
    if is_state or name in (ATTRIBUTES if dot else OTHERS | RESULTS):
        return False
    return word in REPLACED or word.lower() in REPLACED


def has_replaced_part(name: str) -> bool:
    """Tell whether one of a name's words is in `PARTS`, or two in a row are in `PAIRS`."""
    parts = parts_of(name)
    return not PARTS.isdisjoint(parts) or not PAIRS.isdisjoint(map("_".join, itertools.pairwise(parts)))


def parts_of(name: str) -> list[str]:
    """Return the words that a name is made of, in small letters."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower().split("_")


def is_participle(word: str) -> bool:
    """Tell whether a word in small letters ends like a participle."""
    return word in IRREGULAR or word.endswith(("ed", "ing"))


def is_bare_participle(name: str) -> bool:
    """Tell whether a public name is one word that ends like a participle and is not on a list of others."""
    word = name.lower()
    if name in RESULTS or word in NOUNS or not word.isalpha() or sum(map(str.isupper, name)) > 1:
        return False
    return is_participle(word)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_no_module_class_function_alias_constant_or_public_attribute_has_a_name_that_was_replaced() -> None:
    back = [
        f"{path.relative_to(PACKAGE)}: {name}" for path in modules() for name in names_in(path) if was_replaced(name)
    ]
    assert back == []


def test_no_parameter_has_a_word_that_was_replaced() -> None:
    back = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in modules()
        for name in parameters_in(path)
        if has_replaced_part(name)
    ]
    assert back == []


def test_no_public_class_function_method_or_alias_is_a_bare_participle() -> None:
    bare = [
        f"{path.relative_to(PACKAGE)}: {of and f'{of}.'}{node.name}"
        for path in modules()
        for of, node in definitions(path)
        if not of.startswith("_") and is_bare_participle(node.name)
    ] + [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in modules()
        for name in module_names(path)
        if is_bare_participle(name)
    ]
    assert bare == []


def test_every_exception_is_needed() -> None:
    """An attribute or a class that was renamed leaves no hole behind it."""
    names = [name for path in modules() for name in names_in(path)]
    assert frozenset(names) >= ATTRIBUTES
    assert frozenset(names) >= OTHERS | RESULTS
    assert {name.lower() for name in names} >= NOUNS


def test_a_replaced_word_is_found_in_any_spelling_alone_and_within_a_name() -> None:
    found = {name: was_replaced(name) for name in (
        "Leash", "leash", "GATE_CLOSED", "HTTPGate", "lane_count", "Pool.is_parked", "told", "hand_over_job",
        "InHandJobs", "heartbeat", "Gateway", "untold", "REFUSED", "Breaker.stopped", "hand_overs", "return_in_s",
    )}  # fmt: skip
    assert [name for name, replaced in found.items() if replaced] == list(found)[:9]
