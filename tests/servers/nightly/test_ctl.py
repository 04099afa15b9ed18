"""`restbroker ctl` beside `ejabberdctl`, on one ejabberd: the same script, with one word changed."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Final

import attrs
import pytest

from restbroker.store import sets
from restbroker.store.client import Client, StoreSettings, open_client
from tests.support.ejabberd import Ejabberd
from tests.support.ports import free_port
from tests.support.process import Running, clean_environment, run, started
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.wait import until

_SCRIPT: Final = Path(__file__).with_name("ejabberdctl.sh").read_text("utf-8")


_WRAPPER = """\
#!/bin/sh
HOME={directory} exec {program} --config-dir {directory} --logs {directory} --spool {directory}/spool "$@" \\
  2>{directory}/stderr
"""


def start(directory: Path) -> Ejabberd:
    """Starts an ejabberd by Debian's own ejabberdctl, which is in the folder `programs`.

    It needs neither epmd nor another user; its domains are those of every other ejabberd of the tests.
    """
    (directory / "programs").mkdir()
    found = shutil.which("ejabberdctl") or "/usr/sbin/ejabberdctl"
    program = _executable(directory / "theirs", Path(found).read_text().replace("INSTALLUSER=ejabberd", "INSTALLUSER="))
    # Of a node that takes more than 7 s to answer, since the machine is busy, it would say that it is down.
    patience = 'ERL_OPTIONS="-kernel net_setuptime 120"'
    (directory / "ejabberdctl.cfg").write_text(f"ERL_DIST_PORT={free_port()}\n{patience}\n")
    (directory / "inetrc").write_text('{lookup,["file","native"]}.\n{host,{127,0,0,1},["localhost"]}.\n')
    text = _WRAPPER.format(directory=directory, program=program)
    wrapper = _executable(directory / "programs" / "ejabberdctl", text)
    return Ejabberd(directory, by=(str(wrapper), "foreground")).start()


def _executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@attrs.frozen
class Scene:
    """An ejabberd that ejabberdctl started, a broker for it, and a folder in which both programs are found."""

    server: Ejabberd
    place: Path
    store: Client

    def output(self, script: str) -> Sequence[str]:
        """What the script prints, and after each command what that ended with."""
        told = 'trap \'printf "[%s]\\n" "$?"\' DEBUG\n'
        environ = clean_environment({"PATH": f"{self.place}:{self.server.directory}/programs:{os.environ['PATH']}"})
        done = subprocess.run(
            ["bash", "-c", told + script], cwd=self.place, env=environ, capture_output=True, text=True, check=False
        )
        return [*done.stdout.splitlines(), *(f"stderr: {line}" for line in done.stderr.splitlines())]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    server = start(tmp_path_factory.mktemp("node"))
    place = tmp_path_factory.mktemp("broker")
    redis = RedisServer(redis_binary(), tmp_path_factory.mktemp("redis")).start()
    document = {
        "RedisURL": redis.url,
        "RestURL": server.url,
        "RestUser": server.admin,
        "RestPass": server.password,
        "RestQueue": "rest",
        # A starved machine is slow, and no server is away by that.
        "RequestTimeout": "5m",
        "ConnectTimeout": "1m",
        "Tokens": {"scripts": {"Secret": "a-token-of-scripts", "Allow": ["*", "dangerous:*"]}},
    }
    (place / "env.json").write_text(json.dumps(document))
    _executable(place / "restbroker", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m restbroker "$@"\n')
    try:
        with started(["run"], directory=place) as broker:
            _ready(broker)
            yield Scene(server, place, open_client(StoreSettings(redis.url)))
    finally:
        redis.close()
        server.kill()


def _ready(broker: Running) -> None:
    broker.wait_for("taking jobs|takes jobs|started|ready")


def test_a_script_of_ejabberdctl_does_the_same_when_one_word_is_changed(scene: Scene) -> None:
    assert _SCRIPT.count("\nejabberdctl") >= 20
    theirs = scene.output(_SCRIPT)
    ours = scene.output(_SCRIPT.replace("ejabberdctl", "restbroker ctl"))
    assert "\n".join(unified_diff(theirs, ours, n=2, lineterm="")) == ""
    assert sets.size(scene.store, "dead") == 0
    # Ours waits for 10 s, and says then that nothing is known: on a starved machine, too.
    status = scene.output("ejabberdctl status")
    until(lambda: scene.output("restbroker ctl status") == status, f"the same status: {status}")


def test_a_command_waits_for_a_server_that_is_down_and_is_done_once_it_is_back(scene: Scene) -> None:
    server = scene.server
    server.kill()
    with started(["ctl", "register", "carol", "localhost", "secret"], directory=scene.place) as waiting:
        waiting.wait_for("^The server of the queue [^ ]+ gets no jobs now: ")
        state = run(["ctl", "status"], directory=scene.place)
        assert (state.returncode, state.stdout) == (3, "")
        server.start()
        assert waiting.wait() == 0
        assert waiting.stdout.read_text() == "User carol@localhost successfully registered\n"
    assert server.call("unregister", user="carol", host="localhost")[0] == 200
