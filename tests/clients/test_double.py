"""The double of docs/test-your-code.md judges a push as the client and the schema do, and the page's tests run.

Python and Ruby by day; Node, PHP's PHPUnit and Go at night, as in test_clients.py.
"""

import importlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.tools.pages import ROOT, blocks
from restbroker.job.json_types import Json
from restbroker.store.client import StoreSettings, items, open_client, raw
from tests.clients.test_clients import CLIENTS, HERE, PACKAGES
from tests.golden import commands
from tests.operate.test_job_schema import REGISTER, RIGHT, WRONG, forms_of, job, validator_of
from tests.support.ruby import environment

PAGE: Final = ROOT / "docs" / "test-your-code.md"
TESTS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "py": ("python", "test_shop.py", (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")),
    "rb": ("ruby", "shop_test.rb", ("/usr/bin/ruby", "shop_test.rb")),
    "mjs": ("js", "shop.test.mjs", ("node", "--test", "shop.test.mjs")),
    "php": ("php", "ShopTest.php", ("phpunit", "--bootstrap", "/usr/share/php/Predis/autoload.php", "ShopTest.php")),
    "go": ("go", "src/restbroker/shop_test.go", ("go", "test", "restbroker")),
}
"""By the ending of a client: the language of the page's block, the file to put it in, and how to run that."""
MISSING: Final = {**PACKAGES, "php": "phpunit php-nrk-predis"}

NUMBERS: Final = (None, True, 0, 5, 5.0, 1.5, -1, 2**70, math.nan, math.inf, Decimal(1))
TEXTS: Final = ("", "a text", "\ud800", "x" * 257, "a\nb\n", b"x")
ODD: Final[Any] = st.sampled_from([*NUMBERS, *TEXTS, [], {}, [[]], {"a": {}}, (1, 2), {1}])
KEYS: Final = ("order_key", "fair_key", "idempotency_key", "jid", "reply_to", "queue", "retry_queue", "class")
OTHERS: Final = {"expiry": 1790000000.5, "retry": False, "retry_for": 60, "at": 1790000000, "dead": False, "args": []}
FIELDS: Final[Mapping[str, Any]] = {
    name: st.just(right) | ODD for name, right in {**dict.fromkeys(KEYS, "customer-7"), **OTHERS}.items()
}

NUMERIC: Final = {f"retry {number}": job("register", REGISTER, retry=number) for number in (5, 5.0, 5.5, True)}
CASES: Final = {name: case for name, case in {**RIGHT, **WRONG, **NUMERIC}.items() if name != "a key without a jid"}
"""The client gives each job a jid."""


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The client and its double, as a program beside them imports them."""
    monkeypatch.syspath_prepend(str(CLIENTS))
    monkeypatch.setenv("RESTBROKER_TOKEN", "TOKEN")
    return importlib.import_module("restbroker_client"), importlib.import_module("restbroker_double")


def schema_in(folder: Path, name: str = "ejabberd") -> Path:
    file = folder / "job.schema.json"
    file.write_text(json.dumps(validator_of(name)[0].schema))
    return file


@st.composite
def pushes(draw: st.DrawFn, name: str) -> tuple[Any, Any, dict[str, Any]]:
    """Draw a command with its arguments, most of them nearly right, and fields of the job."""
    _, catalogue, default_host = validator_of(name)
    command = draw(st.sampled_from([*catalogue.commands]))
    arguments: Any = json.loads(json.dumps(draw(st.sampled_from(forms_of(catalogue.commands[command], default_host)))))
    for _ in range(draw(st.integers(0, 2))):
        arguments = draw(changed(arguments))
    fields = draw(st.fixed_dictionaries({}, optional=FIELDS)) if draw(st.booleans()) else {}
    spelling = draw(st.sampled_from([command, command.replace(".", "/")])) if draw(st.integers(0, 9)) else draw(ODD)
    return spelling, arguments, fields


@st.composite
def changed(draw: st.DrawFn, given: Any) -> Any:
    """Draw what is nearly this: with a part that is other, more, or less."""
    if not given or not isinstance(given, dict | list) or draw(st.integers(0, 9)) == 0:
        return draw(ODD)
    place = draw(st.sampled_from([*given] if isinstance(given, dict) else [*range(len(given))]))
    match draw(st.sampled_from(["other", "more", "less"])):
        case "other":
            part = draw(changed(given[place]))
            return {**given, place: part} if isinstance(given, dict) else [*given[:place], part, *given[place + 1 :]]
        case "more":
            return {**given, "surprise": 1} if isinstance(given, dict) else [*given, given[place]]
        case _:
            return {n: v for n, v in given.items() if n != place} if isinstance(given, dict) else given[:place]


def came_of(push: Callable[..., Any], command: Any, arguments: Any, fields: Mapping[str, Any]) -> str:
    """Return "" if it was pushed, else the kind of the error."""
    try:
        push(command, arguments, **fields)
    except Exception as error:  # noqa: BLE001  # whatever a client says to odd values
        return type(error).__name__
    return ""


@pytest.mark.parametrize(
    "name", [pytest.param(of, marks=[] if of == "ejabberd" else pytest.mark.nightly) for of in commands.usual()]
)
def test_the_double_judges_as_the_client_with_the_schema_does(
    name: str, modules: tuple[Any, Any], redis_url: str, tmp_path: Path
) -> None:
    client, double = modules
    real, store = client.Restbroker(redis_url), open_client(StoreSettings(redis_url))
    stand_in = double.Double(schema_in(tmp_path, name))
    validator = validator_of(name)[0]
    seen = set()

    @given(pushes(name))
    def judge(push: tuple[Any, Any, dict[str, Any]]) -> None:
        stand_in.jobs.clear()
        store.command("FLUSHDB")
        said = came_of(real.push, *push)
        pushed = store.command("LPOP", "queue:rest") or next(iter(items(store.command("ZPOPMIN", "schedule"))), None)
        assert (pushed is None) == bool(said)
        queued: Any = pushed and json.loads(raw(pushed))
        wrong = said or ("" if validator.is_valid(queued) else "AssertionError")
        seen.add(wrong)
        assert came_of(stand_in.push, *push) == wrong, push
        assert len(stand_in.jobs) == (not wrong)
        for kept in stand_in.jobs:
            assert kept.pop("at", None) == push[2].get("at")
            of_each = {"created_at"} | ({"jid"} - push[2].keys())
            assert {k: v for k, v in kept.items() if k not in of_each} == {
                k: v for k, v in queued.items() if k not in of_each
            }

    judge()
    real.redis.close()
    store.close()
    assert {"", "AssertionError"} <= seen


@pytest.mark.parametrize("what", [*CASES])
def test_the_double_judges_jobs_of_the_schema_s_tests(what: str, modules: tuple[Any, Any]) -> None:
    """Those, too, that the client would not write, such as `args` that are text."""
    validator: Any = validator_of("ejabberd")[0]
    found = [*modules[1].faults(CASES[what], validator.schema, validator.schema["$defs"])]
    assert bool(found) != validator.is_valid(CASES[what]), found


def test_the_double_knows_each_word_of_the_schemas() -> None:
    words = {word for name in commands.usual() for word in words_of(validator_of(name)[0].schema)}
    known = set(re.findall(r'"([$\w]+)"', (CLIENTS / "restbroker_double.py").read_text("utf-8")))
    needless = {"$schema", "$defs", "title", "description", "writeOnly", "dependentRequired"}
    assert words - known - needless == set()


def words_of(rule: Any) -> set[str]:
    found = set(rule) if isinstance(rule, dict) else set()
    for word in found & {"properties", "$defs"}:
        found = found.union(*map(words_of, rule[word].values()))
    for word in found & {"allOf", "anyOf", "prefixItems"}:
        found = found.union(*map(words_of, rule.get(word, ())))
    return found.union(*(words_of(rule.get(word)) for word in found & {"if", "then", "else", "items", "contains"}))


def test_the_double_keeps_jobs_and_answers_as_told(modules: tuple[Any, Any], tmp_path: Path) -> None:
    client, double = modules
    broker = double.Double(schema_in(tmp_path), "other")
    jid = broker.push("register", REGISTER, order_key="bob", at=1790000000)
    with pytest.raises(
        AssertionError, match=r"A job of register is wrong: job.args\[1\]: required \['password'\]"
    ) as raised:
        broker.push("register", {"user": "bob", "host": "example.org"})
    assert [(job["jid"], job["queue"], job["order_key"], job["at"]) for job in broker.jobs] == [
        (jid, "other", "bob", 1790000000)
    ]
    assert "TOKEN" not in str(raised.value)
    broker.answers["check_account"] = {"outcome": "negative", "answer": 1}
    asked: dict[str, Json] = {"user": "bob", "host": "example.org"}
    assert broker.call("check_account", asked)["answer"] == 1
    broker.answers["check_account"] = lambda job: {"outcome": "delivered", "answer": job["args"][1]["user"]}
    found = broker.call("check_account", asked)
    assert (found["answer"], found["jid"], found["command"]) == ("bob", broker.jobs[-1]["jid"], "check_account")
    for outcome, kind in {"rejected": client.Refused, "expired": client.Refused, "uncertain": client.Unknown}.items():
        broker.answers["check_account"] = {"outcome": outcome, "error": {"code": "C", "message": "m", "cure": "c"}}
        with pytest.raises(kind, match="C: m c"):
            broker.call("check_account", asked)
    del broker.answers["check_account"]
    with pytest.raises(client.Unknown) as unknown:
        broker.call("check_account", asked, timeout=600)
    broker.answers["check_account"] = {"outcome": "delivered", "answer": 0}
    assert broker.wait(unknown.value.jid)["answer"] == 0
    for wrong in (0, math.nan):
        with pytest.raises(ValueError, match="number of seconds"):
            broker.call("check_account", asked, timeout=wrong)


@pytest.mark.parametrize(
    "ending", [pytest.param(of, marks=[] if of in ("py", "rb") else pytest.mark.nightly) for of in TESTS]
)
def test_each_test_of_the_page_passes(ending: str, tmp_path: Path) -> None:
    language, file, words = TESTS[ending]
    assert shutil.which(words[0]), f"{words[0]} is not installed; apt-get install {MISSING[ending]}"
    place = tmp_path / file
    place.parent.mkdir(parents=True, exist_ok=True)
    (block,) = blocks(PAGE, language)
    place.write_text(block)
    for client in CLIENTS.glob(f"restbroker_*.{ending}"):
        shutil.copy(client, place.parent)
    if ending == "mjs":
        assert (HERE / "node_modules" / "ajv").is_dir(), "ajv is not installed; `make nightly-servers` installs it"
        (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    schema_in(tmp_path)
    extra = {"GOPATH": f"{tmp_path}:/usr/share/gocode", "GO111MODULE": "off", "GOCACHE": f"{tmp_path}/cache"}
    extra |= {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env=environment("redis://127.0.0.1:1/0", extra=extra),  # nobody listens there
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_double_is_short() -> None:
    assert len((CLIENTS / "restbroker_double.py").read_text("utf-8").splitlines()) <= 80
