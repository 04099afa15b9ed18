"""A real nginx before an ejabberd that is killed with requests in progress: its 502 is no proof that nothing ran."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.bench import CONCURRENCY, Bench, job_id, payload
from tests.support.ports import accepts, free_port
from tests.support.shared import FAST_RETRIES
from tests.support.sweeper import spawn
from tests.support.wait import until

JOBS = 400
TRIPPED_BY = 5
CONFIG = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 200; }}
http {{
  access_log off; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_set_header Host $host; }}
  }}
}}
"""

Report = Callable[[str], None]


@pytest.fixture
def gateway(bench: Bench, tmp_path: Path) -> Iterator[int]:
    """The port of an nginx that passes requests on to the bench's proxy."""
    port, file = free_port(), tmp_path / "nginx.conf"
    file.write_text(CONFIG.format(folder=tmp_path, port=port, behind=bench.proxy.port))
    nginx = spawn(["nginx", "-p", str(tmp_path), "-c", str(file)])
    try:
        until(lambda: accepts(port), "nginx answers")
        yield port
    finally:
        nginx.terminate()
        nginx.wait()


@pytest.mark.promise("At least once, and seldom more", "AtMostOnce holds behind a gateway")
def test_behind_nginx_only_what_was_in_flight_dies_at_most_once(bench: Bench, gateway: int, report: Report) -> None:
    """Two commands by turns, one of them under AtMostOnce; the other is sent at most 1 + UncertainRetries times."""
    bench.configure(RestURL=f"http://127.0.0.1:{gateway}/api", AtMostOnce=["kick_user"], Backoff=FAST_RETRIES)
    for command in ("kick_user", "kick_session"):
        assert bench.ejabberd.call("register", user=command, host="example.org", password="x")[0] in (200, 409)
    more = {"kick_user": {}, "kick_session": {"resource": "r", "reason": "r"}}
    names = ["kick_user", "kick_session"]
    bench.push(
        [payload(n, names[n % 2], user=names[n % 2], host="example.org", **more[names[n % 2]]) for n in range(JOBS)]
    )
    broker = bench.start()
    bench.wait_until_sent(JOBS // 8)
    bench.ejabberd.freeze()
    bench.ejabberd.kill()
    broker.wait_for(r"target\.down")
    bench.ejabberd.start()
    bench.wait_until_finished()
    sent = {job: len(exchanges) for job, exchanges in bench.proxy.of_jobs().items()}
    once = {job_id(number) for number in range(0, JOBS, 2)}
    dead = {job["jid"] for job in bench.members("dead")}
    assert dead <= once
    assert len(dead) <= CONCURRENCY + TRIPPED_BY
    assert {job for job in once if sent.get(job, 0) > 1} == set()
    assert max(sent.values()) <= 3
    report(f"{JOBS} jobs behind nginx, ejabberd killed: {len(dead)} of those at most once died, each was sent once")
