"""The file that docs/sidekiq.md has for Sidekiq Web works as it stands there, with the command beside it."""

import re
from pathlib import Path

import httpx

from tests.support.ports import free_port
from tests.support.process import started
from tests.support.redis_server import RedisServer
from tests.support.ruby import environment
from tests.support.wait import until
from tools.pages import ROOT, blocks

PAGE = ROOT / "docs" / "sidekiq.md"


def test_the_documented_file_starts_sidekiq_web_behind_a_password(redis_server: RedisServer, tmp_path: Path) -> None:
    (source,) = [block for block in blocks(PAGE, "ruby") if "sidekiq/web" in block]
    (tmp_path / "web.ru").write_text(source, encoding="utf-8")
    command = re.search(r"(rackup -E .* web\.ru)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert command is not None
    port = free_port()
    words = ["/usr/bin/rackup", *command[1].replace("9292", str(port)).split()[1:]]
    variables = environment(redis_server.url, extra={"WEB_PASSWORD": "s3cret"})
    with (
        started(words[1:], directory=tmp_path, environ=variables, command=words[:1]),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        assert until(lambda: _status(client, None), "it answers") == 401
        assert _status(client, "wrong") == 401
        assert _status(client, "s3cret") == 200
        assert "Busy" in client.get("/", auth=("anybody", "s3cret")).text


def _status(client: httpx.Client, password: str | None) -> int | None:
    try:
        return client.get("/", auth=None if password is None else ("anybody", password)).status_code
    except httpx.TransportError:
        return None
