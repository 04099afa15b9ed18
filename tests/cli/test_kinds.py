"""Kinds of servers that packages beside restbroker bring, through the real command line."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from restbroker.kinds import TARGETS
from restbroker.servers.packages import CONTRACT_VERSION
from tests.support.process import run, started
from tests.support.receiver import Answer, Received, Receiver
from tests.support.redis_server import RedisServer
from tests.support.server_kind import PAGE, answer, beside, document, installed, written

NOWHERE = "http://127.0.0.1:1"
Shell = Callable[..., CompletedProcess[str]]
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def chatter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the package of examples/server-kind/chatter is installed; it brings the kind `chatter`."""
    place = tmp_path_factory.mktemp("chatter")
    return installed(written(place / "package"), place / "lib")


@pytest.fixture
def lib(chatter: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(chatter, tmp_path / "lib"))


@pytest.fixture
def shell(lib: Path, tmp_path: Path) -> Shell:
    """Runs a command beside it, with a target of its kind."""
    _write(tmp_path, document(NOWHERE))
    return lambda *words: run(words, directory=tmp_path, environ=beside(lib))


def _write(place: Path, configuration: Mapping[str, Any]) -> None:
    (place / "env.json").write_text(json.dumps(configuration))


def _file(lib: Path) -> Path:
    return lib / "restbroker_chatter.py"


def _names_twice(name: str) -> Change:
    """Adds another package that brings a kind of this name."""

    def change(lib: Path) -> None:
        info = lib / "other_package-3.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 3.0\n")
        (info / "entry_points.txt").write_text(f"[restbroker.servers]\n{name} = restbroker_chatter\n")

    return change


def _says(text: str) -> Change:
    return lambda lib: _file(lib).write_text(text)


def _adds(text: str) -> Change:
    return lambda lib: _file(lib).write_text(f"{_file(lib).read_text()}\n\n{text}\n")


def _lacks_its_last_line(lib: Path) -> None:
    _file(lib).write_text(_file(lib).read_text().rpartition("for_version, open_connector")[0])


def _is_entered_as(value: str) -> Change:
    def change(lib: Path) -> None:
        (point,) = lib.glob("restbroker_chatter-*.dist-info/entry_points.txt")
        point.write_text(point.read_text().replace("= restbroker_chatter", f"= {value}"))

    return change


NIGHTLY = pytest.mark.nightly
BROKEN: list[tuple[Change, str, str]] = [
    (_says("1 / 0"), "cannot be imported (ZeroDivisionError: division by zero)", "Install"),
    (_says(f"CONTRACT_VERSION = {CONTRACT_VERSION + 1}"), f"version {CONTRACT_VERSION + 1}", "a newer restbroker."),
    (_names_twice("chatter"), "is in several packages: ", "Uninstall all but one of them."),
    (_is_entered_as("restbroker-chatter"), 'its entry point names "restbroker-chatter"', "another version"),
    (_says("raise SystemExit(3)\n"), "restbroker_chatter cannot be imported (SystemExit: 3)", "another version"),
    (_says(""), "does not declare its CONTRACT_VERSION", "Install"),
    (_says(f"CONTRACT_VERSION = {CONTRACT_VERSION - 1}"), f"version {CONTRACT_VERSION - 1}", "a newer restbroker-c"),
    (
        _says('from restbroker.config.key import key\nkey("Notify", "Whether messages ring.", default=True)'),
        'cannot be imported (TypeError: key("Notify"): write its text as a docstring below the field',
        "another version",
    ),
    (_lacks_its_last_line, "restbroker_chatter has no for_version", "Install"),
]
ROWS = [pytest.param(*row, id=row[1], marks=[NIGHTLY] if number > 2 else []) for number, row in enumerate(BROKEN)]


def test_kinds_are_listed_with_package_version_and_a_sentence(shell: Shell) -> None:
    listed, rows = shell("commands", "--kinds"), json.loads(shell("commands", "--kinds", "--json").stdout)
    sentence = "Chatter: its users, and messages to them, through its HTTP API."
    assert listed.stdout.splitlines()[-1] == f"chatter\trestbroker-chatter 1.0\t{sentence}"
    assert [row["kind"] for row in rows] == [*TARGETS, "chatter"]
    assert {row["package"] for row in rows[:-1]} == {"restbroker"}
    assert all(row["about"] for row in rows)
    assert rows[-1] == {
        "kind": "chatter",
        "package": "restbroker-chatter",
        "version": "1.0",
        "about": sentence,
        "problem": None,
    }


def test_target_of_a_package_kind_is_shown_and_checked_like_ours(shell: Shell, tmp_path: Path) -> None:
    shown = json.loads(shell("config", "show", "--json").stdout)["Targets"]["value"]["chat"]
    assert (shown["Options"], shown["Auth"]) == ({"Notify": False}, {"Bearer": {"Token": "…"}})
    _write(tmp_path, document(NOWHERE, Options={"Notify": "yes"}))
    wrong = shell("config", "show")
    assert (wrong.returncode, "Targets.chat.Options.Notify: expected true or false" in wrong.stderr) == (2, True)
    _write(tmp_path, document(NOWHERE, Auth={"Basic": {"User": "ann", "Pass": "pw"}}))
    assert "Targets.chat.Auth: must be Bearer" in shell("config", "show").stderr


@NIGHTLY
def test_probe_is_the_check_of_a_kind_without_one(shell: Shell, tmp_path: Path) -> None:
    with Receiver(answer) as server:
        found = _of_chat(shell, tmp_path, document(server.url))
        assert [(finding["level"], finding["code"]) for finding in found] == [("ok", "Reachable")]
        auth = {"Bearer": {"Token": "another"}}
        found = _of_chat(shell, tmp_path, document(server.url, Auth=auth))
        assert [(finding["level"], finding["code"]) for finding in found] == [("problem", "LoginRefused")]
    found = _of_chat(shell, tmp_path, document(NOWHERE))
    assert [(finding["level"], finding["code"]) for finding in found] == [("problem", "Unreachable")]
    assert json.loads(shell("check", "--suggest", "--json").stdout)[0]["text"] is None


def _of_chat(shell: Shell, place: Path, configuration: Mapping[str, Any]) -> list[dict[str, Any]]:
    _write(place, configuration)
    return [finding for finding in json.loads(shell("check", "--json").stdout)["findings"] if finding["area"] == "chat"]


@pytest.mark.parametrize(("change", "why", "hint"), ROWS)
def test_unusable_package_is_a_configuration_error_with_its_name(
    shell: Shell, lib: Path, change: Change, why: str, hint: str
) -> None:
    change(lib)
    ended = shell("run")
    assert (ended.returncode, "Targets.chat.Kind: " in ended.stderr) == (2, True)
    assert all(text in ended.stderr for text in ("restbroker-chatter 1.0", why, hint)), ended.stderr
    listed = shell("commands", "--kinds")
    assert (listed.returncode, "ejabberd" in listed.stdout) == (2, True)
    assert (why in listed.stdout, hint in listed.stderr) == (True, True)


@NIGHTLY
def test_unimportable_connector_is_an_error_at_start_and_check(shell: Shell, lib: Path, tmp_path: Path) -> None:
    """It is one in the list of kinds, too."""
    package = lib / "restbroker_chatter"
    package.mkdir()
    _file(lib).rename(package / "catalogue.py")
    (package / "__init__.py").write_text(f"CONTRACT_VERSION = {CONTRACT_VERSION}\n")
    (package / "options.py").write_text("from restbroker_chatter.catalogue import Options\n")
    for text, why in (("import nowhere", "cannot be imported"), ("", "has no open_connector")):
        (package / "connector.py").write_text(text)
        ended, found = shell("run"), _of_chat(shell, tmp_path, document(NOWHERE))
        for done in (ended, shell("commands", "--kinds")):
            assert (done.returncode, "restbroker-chatter 1.0" in done.stderr, why in done.stderr) == (2, True, True)
        assert [(finding["code"], why in finding["message"]) for finding in found] == [("Unusable", True)]


_RAISE = "raise ValueError('s3cr3t-text')"
"""An error whose text is a secret."""


def _raises(before: str) -> Change:
    """Has the kind raise before this line of it."""

    def change(lib: Path) -> None:
        begin, found, end = _file(lib).read_text().partition(before)
        assert found
        indent = before[: len(before) - len(before.lstrip())]
        _file(lib).write_text(f"{begin}{indent}{_RAISE}\n{found}{end}")

    return change


@pytest.mark.parametrize(
    "change",
    [
        _adds(f"def open_connector(target, ports):\n    {_RAISE}"),
        pytest.param(_raises("        match target.credentials"), marks=NIGHTLY),
    ],
)
def test_exception_of_a_part_is_an_error_with_package_and_line(shell: Shell, lib: Path, change: Change) -> None:
    change(lib)
    ended, checked = shell("run"), shell("check", "--json")
    assert (ended.returncode, checked.returncode) == (2, 2)
    for message in (ended.stderr, json.loads(checked.stdout)["findings"][-1]["message"]):
        assert " failed with ValueError (restbroker-chatter 1.0, restbroker_chatter.py:" in message
        assert "s3cr3t" not in message
    assert "Please report this to the authors of restbroker-chatter." in ended.stderr
    assert "Traceback" not in ended.stderr + checked.stderr


_ASKS = f"""\
def login(target):
    {_RAISE}


open_connector = attrs.evolve(KIND, login=login).open_connector
"""
"""A login that raises."""


@NIGHTLY
@pytest.mark.parametrize("has_check", [True, False])
def test_raising_check_is_a_problem_beside_the_others_found(
    shell: Shell, lib: Path, tmp_path: Path, *, has_check: bool
) -> None:
    if has_check:
        _adds(f"async def check(target):\n    {_RAISE}")(lib)
    else:
        _adds(_ASKS)(lib)
    whole = document(NOWHERE)
    whole["Targets"]["other"] = {**whole["Targets"]["chat"], "Kind": "ejabberd", "Queues": ["other"], "Options": {}}
    _write(tmp_path, whole)
    checked = shell("check", "--json")
    found = {row["area"]: row for row in json.loads(checked.stdout)["findings"] if row["level"] == "problem"}
    assert {"chat", "other", "redis"} <= found.keys()
    assert "failed with ValueError (restbroker-chatter 1.0, restbroker_chatter.py:" in found["chat"]["message"]
    assert "Traceback" not in checked.stderr
    assert "s3cr3t" not in checked.stdout


@NIGHTLY
def test_job_with_raising_connector_names_the_package_and_line(
    shell: Shell, lib: Path, tmp_path: Path, redis_server: RedisServer
) -> None:
    _raises("    more = {")(lib)
    with Receiver(answer) as server:
        _write(tmp_path, document(server.url, redis_server.url))
        with started(["run"], directory=tmp_path, environ=beside(lib)) as broker:
            done = shell("enqueue", "--target", "chat", "get_user", "user=ann", "--wait", "--timeout", "20")
            listed = shell("retries", "list", "--json")
        log = broker.output()
    for output in (log, listed.stdout):
        assert "The connector failed with ValueError (restbroker-chatter 1.0, restbroker_chatter.py:" in output
        assert "report this to the authors of restbroker-chatter" in output
    assert "s3cr3t" not in done.stdout + done.stderr + listed.stdout + log


_BUSY = """\
class Busy:
    def __init__(self, made):
        self._made = made

    def __getattr__(self, name):
        return getattr(self._made, name)

    async def run(self, *, task_status):
        {lines}


def open_connector(target, ports):
    return Busy(KIND.open_connector(target, ports))
"""
"""A connector with background work."""


@NIGHTLY
def test_raising_background_work_pauses_its_target_alone(
    shell: Shell, lib: Path, tmp_path: Path, redis_server: RedisServer
) -> None:
    for number, lines in enumerate((_RAISE, f"task_status.started()\n        {_RAISE}")):
        copy = Path(shutil.copytree(lib, tmp_path / f"copy{number}"))
        _adds(_BUSY.format(lines=lines))(copy)
        environ = beside(copy)
        with Receiver(answer) as server:
            whole = document(server.url, redis_server.url)
            http = {"Commands": {"ping": {"Path": "/v1/users"}}, "AllowPrivate": True}
            other = {"Kind": "http", "Queues": ["other"], "Options": http}
            whole["Targets"]["other"] = {**whole["Targets"]["chat"], **other}
            _write(tmp_path, whole)
            with started(["run"], directory=tmp_path, environ=environ) as broker:
                done = run(["enqueue", "--target", "other", "ping", "--wait"], directory=tmp_path, environ=environ)
                listed = run(["targets"], directory=tmp_path, environ=environ)
                assert broker.process.poll() is None
            log = broker.output()
        assert done.returncode == 0, (done, log)
        assert "background work failed with ValueError (restbroker-chatter 1.0, restbroker_chatter.py:" in log
        assert "s3cr3t" not in log + listed.stdout


def _takes_a_key(lib: Path) -> None:
    """Has the package log in by a header of its own, as the page says."""
    field, check, login = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)[:3]
    begin, _, end = _file(lib).read_text().partition("        match target.credentials")
    begin = begin.replace("import key\n", "import key, secret\nfrom restbroker.config.secret import Secret\n")
    end = end.partition("        return target\n")[2]
    text = begin.replace("    DEFAULTS", f"{field}    DEFAULTS") + check + end
    begin, kind, end = text.partition("KIND = TableKind(\n")
    begin = begin.replace("import Rung\n", "import Rung\nfrom restbroker.servers.api.request import Headers\n")
    _file(lib).write_text(f"{begin}{login}\n\n{kind}    login=login,\n{end}")


def _masks_nothing(lib: Path) -> None:
    """Has it report what the server said without the functions that mask an answer, and name no secret."""
    _takes_a_key(lib)
    text = _file(lib).read_text()
    assert ", secrets=(tried,)" in text
    text = text.replace(", secrets=(tried,)", "")
    said = "answer.response.body.decode()"
    for head, then in (
        ("match answer.status, answer.code", f"return Rejected(Reason('No', {said}, {said}), {said})"),
        ("match answer.status, parse_json(", f"return target_denied({said}, {said}, {said})"),
    ):
        assert head in text
        text = text.replace(f"    {head}", f"    {then}\n    {head}")
    text = text.replace("import Outcome\n", "import Outcome, Reason, Rejected\n")
    _file(lib).write_text(text.replace("import Health, target_up", "import Health, target_denied, target_up"))


def _repeats_the_key(received: Received) -> Answer:
    """Refuse all but the probe at the server's own address."""
    said = json.dumps({"error": {"code": "key", "message": f"{received.headers['x-chatter-key']} is not known"}})
    return Answer(200, b'{"version": "2.1"}') if received.target == "/v1/version" else Answer(403, said.encode())


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@pytest.mark.parametrize("change", [pytest.param(_takes_a_key, marks=NIGHTLY), _masks_nothing])
@pytest.mark.slow  # eight commands, each a process
def test_secret_option_repeated_by_the_server_is_never_shown(
    shell: Shell, lib: Path, tmp_path: Path, redis_server: RedisServer, change: Change
) -> None:
    change(lib)
    key = tmp_path / "key"
    key.write_text("k3y-0f-chatter\n")
    with Receiver(_repeats_the_key) as server:
        whole = document(server.url, redis_server.url, Auth=None, Options={"KeyFile": str(key)})
        _write(tmp_path, document(f"{server.url}/check", redis_server.url, Auth=None, Options={"KeyFile": str(key)}))
        runs = [shell("check"), shell("check", "--json"), shell("check", "--target", "chat")]
        _write(tmp_path, whole)
        with started(["run"], directory=tmp_path, environ=beside(lib)) as broker:
            runs += [shell("enqueue", "--target", "chat", "get_user", "user=ann", "--wait", "--timeout", "2")]
            runs += [shell("targets"), shell("stats", "--json"), shell("dead", "list"), shell("dead", "list", "--json")]
        log = broker.output()
    shown = "".join(run.stdout + run.stderr for run in runs) + log
    assert "*** is not known" in shown
    assert "k3y-0f" not in shown


def test_own_kind_wins_over_a_package_with_its_name(shell: Shell, lib: Path, tmp_path: Path) -> None:
    _names_twice("ejabberd")(lib)
    listed = shell("commands", "--kinds")
    assert (listed.returncode, "restbroker's own counts" in listed.stderr) == (2, True)
    assert "other-package 3.0" in listed.stderr
    _write(tmp_path, {"RestURL": NOWHERE, "RestQueue": "rest", "Token": "x"})
    assert shell("config", "show").returncode == 0


def test_unknown_kind_is_answered_with_known_ones_and_how_to_add(shell: Shell, tmp_path: Path) -> None:
    configuration = document(NOWHERE, Kind="chater")
    _write(tmp_path, configuration)
    message = shell("run").stderr
    assert '"chatter", found a string ("chater"); did you mean "chatter"?' in message
    assert all(text in message for text in (*TARGETS, "the group restbroker.servers", "commands --kinds"))
