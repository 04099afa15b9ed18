"""Reads code for what `servers/api` is there for: masking, ways to a server, unsent jobs, and what a status means.

`doings` says what of it a file does by itself. It follows imports in whatever form they are written, and says too much
rather than too little: what it cannot read counts as what it may be.
"""

import ast
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from restbroker.job import hiding
from restbroker.servers.api.ladder import Ladder, Rung, standard

MASKING: Final = "masking"
CLIENT: Final = "restbroker.transport.client"
STREAM: Final = "restbroker.transport.stream.open_stream"
NOT_SENT: Final = "NotSent"
FATE: Final = "a shared rung"

_SHOWN: Final = "restbroker.servers.api.masked_text"
_HIDING: Final = "restbroker.job.hiding"
# What only makes known what is secret is each kind's own.
_MASKS: Final = tuple(
    f"{_HIDING}.{name}" for name in ("MASK", "text", "mask_secrets", "beginning", "make_hide", "hide_everywhere")
)
_OF: Final[Mapping[str, str]] = {_SHOWN: MASKING, **dict.fromkeys(_MASKS, MASKING), CLIENT: CLIENT, STREAM: STREAM}
_CATCHING: Final = frozenset({"ConfigError", "RestbrokerError", "Exception", "BaseException"})
_STANDARD: Final[Ladder] = standard("", check_url="", check_log="")
_FALSE: Final = ast.Constant(value=False)

_Names: TypeAlias = Mapping[str, str]
"""What a name of a file stands for: a path with dots."""


def doings(tree: ast.Module) -> Iterator[str]:
    """What the file does by itself of what all share; some of it more than once."""
    names = {name: path for node in ast.walk(tree) for name, path in _imported(node)}
    makers = _makers(tree, names)
    for node in ast.walk(tree):
        yield from _used(node, names)
        match node:
            case ast.Constant(value=hiding.MASK) | ast.Constant(value=b"***"):
                yield MASKING
            case ast.ExceptHandler(type=caught) if _catches(caught, names) and _names_in(node, names) & makers:
                yield NOT_SENT
            case ast.Call() if _is_rung(node, names):
                yield FATE
            case ast.match_case() if _is_case(node):
                yield FATE
            case _:
                pass


def _imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Import():
            for one in node.names:
                yield (one.asname, one.name) if one.asname else (one.name.partition(".")[0],) * 2
        case ast.ImportFrom(module=str(module)):
            yield from ((one.asname or one.name, f"{module}.{one.name}") for one in node.names)
        case _:
            pass


def _used(node: ast.AST, names: _Names) -> Iterator[str]:
    match node:
        case ast.Import():
            paths = [one.name for one in node.names]
        case ast.ImportFrom(module=str(module)):
            paths = [_home(f"{module}.{one.name}") for one in node.names]
            if any(one.name == "*" for one in node.names):
                paths += [path for path in _OF if path.startswith(f"{module}.")]
        case ast.Name() | ast.Attribute():
            paths = [_home(_path(node, names))]
        case _:
            return
    for path in paths:
        yield from (what for known, what in _OF.items() if f"{path}.".startswith(f"{known}."))


def _path(node: ast.AST, names: _Names) -> str:
    """What a name stands for; "" of what is none."""
    match node:
        case ast.Name(id=name):
            return names.get(name, name)
        case ast.Attribute(value=value, attr=name):
            return f"{_path(value, names)}.{name}"
        case _:
            return ""


def _home(path: str) -> str:
    """Where it is defined: a module may have it from another."""
    if not path.startswith("restbroker."):
        return path
    try:
        found = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError):  # the last of `*`
        return path
    if found is hiding.MASK:
        return f"{_HIDING}.MASK"
    home, name = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    return f"{home}.{name}" if home and name else path


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _names_in(node: ast.AST, names: _Names) -> set[str]:
    return {_last(_path(one, names)) for one in ast.walk(node) if isinstance(one, ast.Name | ast.Attribute)}


def _catches(caught: ast.expr | None, names: _Names) -> bool:
    return caught is None or not _CATCHING.isdisjoint(_names_in(caught, names))


def _makers(tree: ast.Module, names: _Names) -> set[str]:
    """`NotSent`, and each function of the file that makes one."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {NOT_SENT} | {one.name for one in functions if _makes_unsent(one, names)}


def _makes_unsent(function: ast.AST, names: _Names) -> bool:
    calls = (one for one in ast.walk(function) if isinstance(one, ast.Call))
    return any(_last(_path(one.func, names)) == NOT_SENT for one in calls)


def _is_rung(call: ast.Call, names: _Names) -> bool:
    """Whether it makes a rung that says the same as one of all kinds' does, whatever its hint and its words are."""
    if _last(_path(call.func, names)) != "Rung":
        return False
    given = dict(zip(("fate", "code", "hint", "message", "waits", "how"), call.args, strict=False))
    given |= {one.arg: one.value for one in call.keywords if one.arg is not None}
    waits: dict[str, ast.expr] = {"waits": given.get("waits", _FALSE)}
    return any(
        _fits(rung, given.get("fate"), given.get("code"), waits | _how(given.get("how"), rung))
        for rung in _STANDARD.values()
    )


def _how(node: ast.expr | None, rung: Rung) -> dict[str, ast.expr]:
    match node:
        case ast.Dict(keys=keys, values=values):
            return {str(_value(key)): value for key, value in zip(keys, values, strict=True)}
        case None:
            return {}
        case _:
            return dict.fromkeys(rung.how, node)


def _is_case(case: ast.match_case) -> bool:
    """Whether it gives a status the fate that the rungs of all kinds give it."""
    statuses = {_value(one.value) for one in ast.walk(case.pattern) if isinstance(one, ast.MatchValue)}
    rungs = [rung for step, rung in _STANDARD.items() if step in statuses]
    return any(_makes(node, rung) for line in case.body for node in ast.walk(line) for rung in rungs)


def _makes(node: ast.AST, rung: Rung) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr=fate), args=[code, *_], keywords=keywords):
            how = {one.arg or "": one.value for one in keywords}
            return fate == rung.fate and _fits(rung, ast.Constant(fate), code, {"waits": _FALSE} | how)
        case _:
            return False


def _fits(rung: Rung, fate: ast.expr | None, code: ast.expr | None, how: Mapping[str, ast.expr]) -> bool:
    """Whether they may be the rung's: what is no literal may be anything."""
    expected = {"waits": rung.waits, **rung.how}
    return (
        _value(fate) in (rung.fate, ...)
        and _value(code) in (rung.code, ...)
        and how.keys() == expected.keys()
        and all(_value(value) in (expected[name], ...) for name, value in how.items())
    )


def _value(node: ast.expr | None) -> object:
    return node.value if isinstance(node, ast.Constant) else ...
