"""The connector's logins against a real ejabberd that keeps its passwords as SCRAM does."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, IssuedLogin
from restbroker.job.outcome import Delivered, Denied, Outcome
from tests.servers.ejabberd import NOBODY, side_of
from tests.servers.sides import Side
from tests.support.ejabberd import PASSWORD, Ejabberd

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
NO = Delivered("1", 1, 200, negative=True)
"""The answer to `check_account` for nobody."""


@pytest.fixture(scope="module")
def scram(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    found = [*Path("/usr/lib").glob("erlang/lib/p1_oauth2-*"), *Path("/usr/lib").glob("*/p1_oauth2-*")]
    assert found, "oauth2 is not installed; `make test` installs it, or: sudo apt-get install erlang-p1-oauth2"
    server = Ejabberd(tmp_path_factory.mktemp("scram"), scram=True).start()
    yield server
    server.kill()


@pytest.fixture
def fresh(scram: Ejabberd) -> Ejabberd:
    """The same server without a token."""
    revoke_all(scram)
    return scram


def login(server: Ejabberd, user: str | None = None, *, fallback: bool = True) -> IssuedLogin:
    return IssuedLogin(Basic(user or server.admin, Secret(PASSWORD)), fallback)


def tokens(server: Ejabberd) -> list[str]:
    """The tokens that the server has issued."""
    return [one["token"] for one in json.loads(server.call("oauth_list_tokens")[1])]


def revoke_all(server: Ejabberd) -> None:
    """Has the server take none of its tokens any more."""
    for token in tokens(server):
        assert server.call("oauth_revoke_token", token=token)[0] == 200


def cpu_s(server: Ejabberd) -> float:
    """The CPU seconds that the server has used up."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


async def ask(side: Side, times: int = 1) -> list[Outcome]:
    """Asks for nobody's account so often, one after the other."""
    return [await side.call("check_account", NOBODY) for _ in range(times)]


async def test_a_token_costs_the_server_a_fraction_of_basic(fresh: Ejabberd) -> None:
    used_s = []
    for credentials in (Basic(fresh.admin, Secret(PASSWORD)), login(fresh)):
        async with side_of(fresh, credentials) as side:
            await ask(side)
            before_s = cpu_s(fresh)
            assert await ask(side, 60) == [NO] * 60
            used_s.append(cpu_s(fresh) - before_s)
    assert used_s[0] > 4 * used_s[1]


@pytest.mark.parametrize("fallback", [False, True])
async def test_a_token_that_was_taken_back_fails_no_job(fresh: Ejabberd, fallback: bool) -> None:
    async with side_of(fresh, login(fresh, fallback=fallback)) as side:
        assert await ask(side) == [NO]
        await trio.to_thread.run_sync(revoke_all, fresh)
        assert await ask(side, 3) == [NO] * 3
        assert (await side.probe()).ok
        assert len(await trio.to_thread.run_sync(tokens, fresh)) == 1


@pytest.mark.parametrize(
    ("changes", "hint"),
    [({"tokens": False}, "oauth_access"), ({"without": ("p1_oauth2",)}, "erlang-p1-oauth2")],
    ids=["oauth_access none", "no oauth2"],
)
async def test_a_server_that_issues_no_tokens_gets_basic_or_says_what_it_lacks(
    tmp_path: Path, changes: dict[str, object], hint: str
) -> None:
    server = Ejabberd(tmp_path, **changes)  # type: ignore[arg-type]  # real fields
    await trio.to_thread.run_sync(server.start)
    try:
        async with side_of(server, login(server)) as side:
            assert await ask(side, 3) == [NO] * 3
        async with side_of(server, login(server, fallback=False)) as side:
            (outcome,) = await ask(side)
            assert isinstance(outcome, Denied)
            assert hint in (outcome.reason.hint or "")
            assert hint in ((await side.probe()).hint or "")
    finally:
        await trio.to_thread.run_sync(server.kill)
