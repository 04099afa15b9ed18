"""Kinds of servers that packages beside restbroker bring, through the real command line."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from restbroker.servers import registry
from restbroker.servers.parts import CONTRACT_VERSION
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


def _package(lib: Path) -> Path:
    return lib / "restbroker_chatter"


def _names_twice(name: str) -> Change:
    """Adds another package that brings a kind of this name."""

    def change(lib: Path) -> None:
        info = lib / "other_package-3.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 3.0\n")
        (info / "entry_points.txt").write_text(f"[restbroker.servers]\n{name} = restbroker_chatter\n")

    return change


def _says(text: str) -> Change:
    return lambda lib: (_package(lib) / "__init__.py").write_text(text)


def _lacks(part: str) -> Change:
    return lambda lib: (_package(lib) / f"{part}.py").unlink()


def _is_a_single_module(lib: Path) -> None:
    text = (_package(lib) / "__init__.py").read_text()
    shutil.rmtree(_package(lib))
    _package(lib).with_suffix(".py").write_text(text)


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
    (_lacks("connector"), "restbroker_chatter has no module connector", "Install"),
    (_is_a_single_module, "restbroker_chatter is a module, and must be a package", "Install"),
]
ROWS = [pytest.param(*row, id=row[1], marks=[NIGHTLY] if number > 2 else []) for number, row in enumerate(BROKEN)]


def test_all_kinds_are_listed_with_the_package_that_brings_them_its_version_and_a_sentence(shell: Shell) -> None:
    listed, told = shell("commands", "--kinds"), json.loads(shell("commands", "--kinds", "--json").stdout)
    sentence = "Chatter: its users, and messages to them, through its HTTP API."
    assert listed.stdout.splitlines()[-1] == f"chatter\trestbroker-chatter 1.0\t{sentence}"
    assert [one["kind"] for one in told] == [*registry.KINDS, "chatter"]
    assert {one["package"] for one in told[:-1]} == {"restbroker"}
    assert all(one["about"] for one in told)
    assert told[-1] == {
        "kind": "chatter",
        "package": "restbroker-chatter",
        "version": "1.0",
        "about": sentence,
        "problem": None,
    }


def test_a_target_of_such_a_kind_is_shown_and_its_secrets_and_wrong_options_are_treated_as_those_of_ours(
    shell: Shell, tmp_path: Path
) -> None:
    shown = json.loads(shell("config", "show", "--json").stdout)["Targets"]["value"]["chat"]
    assert (shown["Options"], shown["Auth"]) == ({"Notify": False}, {"Bearer": {"Token": "…"}})
    _write(tmp_path, document(NOWHERE, Options={"Notify": "yes"}))
    wrong = shell("config", "show")
    assert (wrong.returncode, "Targets.chat.Options.Notify: expected true or false" in wrong.stderr) == (2, True)
    _write(tmp_path, document(NOWHERE, Auth={"Basic": {"User": "ann", "Pass": "pw"}}))
    assert "Targets.chat.Auth: must be Bearer" in shell("config", "show").stderr


@NIGHTLY
def test_without_a_check_of_its_own_the_probe_is_the_check_and_nothing_is_suggested(
    shell: Shell, tmp_path: Path
) -> None:
    with Receiver(answer) as server:
        found = _of_chat(shell, tmp_path, document(server.url))
        assert [(one["level"], one["code"]) for one in found] == [("ok", "Reachable")]
        auth = {"Bearer": {"Token": "another"}}
        found = _of_chat(shell, tmp_path, document(server.url, Auth=auth))
        assert [(one["level"], one["code"]) for one in found] == [("problem", "LoginRefused")]
    found = _of_chat(shell, tmp_path, document(NOWHERE))
    assert [(one["level"], one["code"]) for one in found] == [("problem", "Unreachable")]
    assert json.loads(shell("check", "--suggest", "--json").stdout)[0]["text"] is None


def _of_chat(shell: Shell, place: Path, configuration: Mapping[str, Any]) -> list[dict[str, Any]]:
    _write(place, configuration)
    return [one for one in json.loads(shell("check", "--json").stdout)["findings"] if one["area"] == "chat"]


@pytest.mark.parametrize(("change", "why", "hint"), ROWS)
def test_a_package_that_cannot_be_used_is_an_error_of_the_configuration_that_names_it_and_what_to_do(
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
def test_a_connector_that_cannot_be_imported_is_such_an_error_at_the_start_in_a_check_and_in_the_list_of_kinds(
    shell: Shell, lib: Path, tmp_path: Path
) -> None:
    for text, why in (("import nowhere", "cannot be imported"), ("", "has no open_connector")):
        (_package(lib) / "connector.py").write_text(text)
        ended, found = shell("run"), _of_chat(shell, tmp_path, document(NOWHERE))
        for one in (ended, shell("commands", "--kinds")):
            assert (one.returncode, "restbroker-chatter 1.0" in one.stderr, why in one.stderr) == (2, True, True)
        assert [(one["code"], why in one["message"]) for one in found] == [("Unusable", True)]


def _raises(part: str, before: str) -> Change:
    """Has a part of the package raise, before this line of it, an error whose text is a secret."""

    def change(lib: Path) -> None:
        file = _package(lib) / f"{part}.py"
        begin, found, end = file.read_text().partition(before)
        indent = before[: len(before) - len(before.lstrip())]
        file.write_text(f"{begin}{indent}raise ValueError('s3cr3t-text')\n{found}{end}")

    return change


@pytest.mark.parametrize(
    ("change", "file"),
    [
        (_raises("connector", "    return Chatter(target"), "connector.py"),
        pytest.param(_raises("catalogue", "    return Catalogue("), "catalogue.py", marks=NIGHTLY),
        pytest.param(_raises("options", "        match target.credentials"), "options.py", marks=NIGHTLY),
    ],
)
def test_what_a_part_raises_is_an_error_of_the_configuration_that_names_the_package_and_the_line(
    shell: Shell, lib: Path, change: Change, file: str
) -> None:
    change(lib)
    ended, checked = shell("run"), shell("check", "--json")
    assert (ended.returncode, checked.returncode) == (2, 2)
    for told in (ended.stderr, json.loads(checked.stdout)["findings"][-1]["message"]):
        assert f" failed with ValueError (restbroker-chatter 1.0, restbroker_chatter/{file}:" in told
        assert "s3cr3t" not in told
    assert "Please report this to the authors of restbroker-chatter." in ended.stderr
    assert "Traceback" not in ended.stderr + checked.stderr


@NIGHTLY
@pytest.mark.parametrize("has_check", [True, False])
def test_a_check_that_raises_is_a_problem_of_its_target_beside_what_else_was_found(
    shell: Shell, lib: Path, tmp_path: Path, *, has_check: bool
) -> None:
    if has_check:
        (_package(lib) / "check.py").write_text("async def check(target):\n    raise ValueError('s3cr3t-text')\n")
    else:
        _raises("connector", "        return health_of(")(lib)
    whole = document(NOWHERE)
    whole["Targets"]["other"] = {**whole["Targets"]["chat"], "Kind": "ejabberd", "Queues": ["other"], "Options": {}}
    _write(tmp_path, whole)
    checked = shell("check", "--json")
    found = {one["area"]: one for one in json.loads(checked.stdout)["findings"] if one["level"] == "problem"}
    file = "check.py:2" if has_check else "connector.py:"
    assert {"chat", "other", "redis"} <= found.keys()
    assert f"failed with ValueError (restbroker-chatter 1.0, restbroker_chatter/{file}" in found["chat"]["message"]
    assert "Traceback" not in checked.stderr
    assert "s3cr3t" not in checked.stdout


@NIGHTLY
def test_a_job_over_which_a_connector_raises_says_of_which_package_and_where(
    shell: Shell, lib: Path, tmp_path: Path, redis_server: RedisServer
) -> None:
    _raises("connector", "        response = await link.send(request)")(lib)
    with Receiver(answer) as server:
        _write(tmp_path, document(server.url, redis_server.url))
        with started(["run"], directory=tmp_path, environ=beside(lib)) as broker:
            done = shell("enqueue", "--target", "chat", "get_user", "user=ann", "--wait", "--timeout", "20")
            listed = shell("retries", "list", "--json")
        log = broker.output()
    for told in (log, listed.stdout):
        assert "The connector failed with ValueError (restbroker-chatter 1.0, restbroker_chatter/connector.py:" in told
        assert "report this to the authors of restbroker-chatter" in told
    assert "s3cr3t" not in done.stdout + done.stderr + listed.stdout + log


@NIGHTLY
def test_background_work_that_raises_pauses_its_target_and_no_other(
    shell: Shell, lib: Path, tmp_path: Path, redis_server: RedisServer
) -> None:
    for place in ("        task_status.started()", "        await trio.sleep_forever()"):
        copy = Path(shutil.copytree(lib, tmp_path / place.strip()))
        _raises("connector", place)(copy)
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
        assert "background work failed with ValueError (restbroker-chatter 1.0, restbroker_chatter/connector.py:" in log
        assert "s3cr3t" not in log + listed.stdout


def _takes_a_key(lib: Path) -> None:
    """Has the package log in by a header of its own, as the page says."""
    field, check, login = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)[:3]
    options, connector = _package(lib) / "options.py", _package(lib) / "connector.py"
    begin = options.read_text().partition("        match target.credentials")[0]
    begin = begin.replace("import key\n", "import key, secret\nfrom restbroker.config.secret import Secret\n")
    options.write_text(begin.replace("    DEFAULTS", f"{field}    DEFAULTS") + check)
    begin, _, end = connector.read_text().partition("def _login(")
    connector.write_text(f"{begin}{login}\n\ndef _question({end.partition('def _question(')[2]}")


def _masks_nothing(lib: Path) -> None:
    """Has it tell people what the server said without the functions that mask an answer."""
    _takes_a_key(lib)
    connector = _package(lib) / "connector.py"
    text = connector.read_text()
    refused = "return Rejected(Reason('No', response.body.decode(), response.body.decode()), response.body.decode())"
    text = text.replace("    answer = read_for(", f"    {refused}\n    answer = read_for(")
    denied = "return target_denied(response.body.decode(), response.body.decode(), response.body.decode())"
    text = text.replace("    answer = read(_FORM", f"    {denied}\n    answer = read(_FORM")
    connector.write_text(text.replace("import Outcome, Probe, Rejected", "import Outcome, Probe, Reason, Rejected"))


def _repeats_the_key(received: Received) -> Answer:
    """Refuse all but the probe at the server's own address."""
    said = json.dumps({"error": {"code": "key", "message": f"{received.headers['x-chatter-key']} is not known"}})
    return Answer(200, b'{"version": "2.1"}') if received.target == "/v1/version" else Answer(403, said.encode())


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@pytest.mark.parametrize("change", [pytest.param(_takes_a_key, marks=NIGHTLY), _masks_nothing])
@pytest.mark.slow  # eight commands, each a process
def test_a_secret_of_its_options_that_the_server_repeats_is_shown_nowhere_whatever_the_package_does_about_it(
    shell: Shell, lib: Path, tmp_path: Path, redis_server: RedisServer, change: Change
) -> None:
    change(lib)
    key = tmp_path / "key"
    key.write_text("k3y-0f-chatter\n")
    with Receiver(_repeats_the_key) as server:
        whole = document(server.url, redis_server.url, Auth=None, Options={"KeyFile": str(key)})
        _write(tmp_path, document(f"{server.url}/check", redis_server.url, Auth=None, Options={"KeyFile": str(key)}))
        told = [shell("check"), shell("check", "--json"), shell("check", "--target", "chat")]
        _write(tmp_path, whole)
        with started(["run"], directory=tmp_path, environ=beside(lib)) as broker:
            told += [shell("enqueue", "--target", "chat", "get_user", "user=ann", "--wait", "--timeout", "2")]
            told += [shell("targets"), shell("stats", "--json"), shell("dead", "list"), shell("dead", "list", "--json")]
        log = broker.output()
    shown = "".join(one.stdout + one.stderr for one in told) + log
    assert "*** is not known" in shown
    assert "k3y-0f" not in shown


def test_restbroker_s_own_kind_stays_when_a_package_has_one_of_its_name(
    shell: Shell, lib: Path, tmp_path: Path
) -> None:
    _names_twice("ejabberd")(lib)
    listed = shell("commands", "--kinds")
    assert (listed.returncode, "restbroker's own counts" in listed.stderr) == (2, True)
    assert "other-package 3.0" in listed.stderr
    _write(tmp_path, {"RestURL": NOWHERE, "RestQueue": "rest", "Token": "x"})
    assert shell("config", "show").returncode == 0


def test_a_kind_that_no_package_brings_is_told_the_known_ones_and_how_one_is_brought(
    shell: Shell, tmp_path: Path
) -> None:
    configuration = document(NOWHERE, Kind="chater")
    _write(tmp_path, configuration)
    told = shell("run").stderr
    assert '"chatter", found a string ("chater").' in told
    assert all(text in told for text in (*registry.KINDS, "the group restbroker.servers", "commands --kinds"))
