"""The main job with nothing simulated: a shell pushes, a broker process delivers, a real ejabberd answers."""

import json

import pytest

from tests.support.bench import Bench
from tests.support.process import run


@pytest.mark.promise("Defects of the Go original", "JabberDomain was never used")
def test_command_pushed_from_a_shell_reaches_ejabberd_with_host(bench: Bench) -> None:
    bench.start()
    pushed = run(["enqueue", "user_sessions_info", "user=richard"], directory=bench.directory)
    assert pushed.returncode == 0, pushed.stderr
    bench.wait_until_finished()
    (call,) = [exchange for exchange in bench.proxy.exchanges if exchange.path == "/api/user_sessions_info"]
    assert json.loads(call.body) == {"user": "richard", "host": "example.org"}
    assert call.status == 200
    assert bench.places() == {}
