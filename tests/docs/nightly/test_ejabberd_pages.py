"""The pages of ejabberd are followed on a real one: what they say to paste is pasted, what they say to type is typed.

Pasting is what a reader does: entries of a section that is there are added to it. Others are only ports, the folder and
secrets. Always holds: the server's file has nothing of a page before it is pasted.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

from dev.tools.pages import ROOT, blocks
from restbroker.store.client import StoreSettings, items, open_client, text
from restbroker.store.sources import read_states
from tests.docs.nightly.surroundings import PATIENCE_S, REDIS, SERVER, Broker, Workplace, workplace
from tests.docs.nightly.transcripts import Names, Step, difference, recipes
from tests.support.ejabberd import PASSWORD, Ejabberd, libraries
from tests.support.wait import until

SERVERS: Final = ROOT / "docs" / "servers"
SET_UP, LOGIN, EVENTS = (SERVERS / f"ejabberd{name}.md" for name in ("", "-login", "-events"))
HOST: Final = "example.org"
SECRET: Final = "A SECRET"
FOLDER: Final = "/etc/restbroker"
COMPONENT: Final = '"Name": "events.example.org"'
BEFORE: Final = """\
hosts: [example.org]
auth_method: internal
auth_password_format: scram
registration_timeout: infinity
api_permissions:
  "for the test":
    who: {ip: 127.0.0.2/32}
    what: ["*"]
modules:
  mod_admin_extra: {}
  mod_http_api: {}
  mod_muc: {}
  mod_muc_admin: {}
  mod_offline: {}
"""
"""As Debian's keeps passwords. The fixture makes its accounts from another loopback address."""
OF_THE_TEST: Final = {"NameElsewhere", "NotSaved", "WorldReadable"}
"""What check warns of here alone: no line in /etc/hosts, a Redis that keeps nothing, modes of the files."""


def pasted(before: Any, page: Any) -> Any:
    """Return the file with these lines merged into its sections."""
    if isinstance(before, Mapping):
        added = {key: pasted(before[key], value) if key in before else value for key, value in page.items()}
        return {**before, **added}
    assert isinstance(before, list), f"{before!r} stands there already; the page has {page!r}."
    return [*before, *page]


@attrs.define
class Followed(Ejabberd):
    """One whose file has these pages' lines."""

    hosts: tuple[str, ...] = (HOST,)
    pages: Sequence[Path] = ()

    def _write_config(self) -> None:
        document = yaml.safe_load(BEFORE)
        for page in self.pages:
            # The first block is the task; others say what may stand in its place.
            lines = (
                blocks(page, "yaml")[0].replace(" 5281", f" {self.port}").replace(" 5347", f" {self.component_port}")
            )
            document = pasted(document, yaml.safe_load(lines))
        # The page's sentence "From 26.07 on".
        if next(Path(f"{self.root}{libraries(self.root)}").glob("ejabberd-*")).name >= "ejabberd-26":
            document = pasted(document, {"access_rules": {"configure": {"allow": "restbroker"}}})
        (self.directory / "ejabberd.yml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


@contextmanager
def followed(place: Path, redis_url: str, *pages: Path) -> Iterator[tuple[Followed, Workplace]]:
    """An ejabberd and a restbroker with what these pages say, and a shell next to them."""
    (folder := place / "restbroker").mkdir()
    documents = [json.loads(block) for page in pages for block in blocks(page, "json")[:1]]
    document = {key: value for part in documents for key, value in part.items()}
    secrets = {"token": "a token of the page", "ejabberd": PASSWORD, "component": SECRET}
    server = Followed(place / "ejabberd", pages=pages)
    addresses = {REDIS: redis_url, SERVER: server.url, FOLDER: str(folder)}
    addresses[COMPONENT] = f'"Address": "127.0.0.1:{server.component_port}", {COMPONENT}'
    with ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        at = stack.enter_context(
            workplace(folder, {**secrets, "env.json": json.dumps(document)}, addresses, {"ejabberd": server})
        )
        yield server, at


def typed(at: Workplace, command: str, until_printed: str = "") -> str:
    """Type what the page has in a line of text, and return what is printed. What only looks may look more than once."""
    printed = ""

    def look() -> bool:
        nonlocal printed
        printed = at.type(Step(command, until_printed, slice(0)), Names(), 0.0)
        return until_printed in printed

    until(look, f"{command} prints {until_printed!r}", PATIENCE_S)
    return printed


def warned(at: Workplace) -> set[str]:
    """Return the codes of what `check` warns of, which finds no problem."""
    checked = json.loads(typed(at, "restbroker check --json 2>/dev/null"))
    assert checked["exit_code"] == 0, checked
    return {found["code"] for found in checked["findings"] if found["level"] == "warning"}


def is_slow(at: Workplace, release: str) -> bool:
    """Return whether `check` warns of Debian's passwords alone, which make a slow login, and may at 26.07 no more."""
    found = warned(at) - OF_THE_TEST
    return found == {"SlowLogin"} or (release == "sid" and not found)


def test_a_message_becomes_a_job_once_the_page_is_followed(release: str, tmp_path: Path, redis_url: str) -> None:
    [recipe] = recipes(EVENTS)
    with (
        followed(tmp_path, redis_url, SET_UP, EVENTS) as (_, at),
        closing(open_client(StoreSettings(redis_url))) as client,
    ):
        until(lambda: any(state.is_reading for state in read_states(client)), "the component reads", PATIENCE_S)
        assert typed(at, "restbroker enqueue --wait connected_users_number") == "0\n"
        names = Names()
        printed = [at.type(step, names, PATIENCE_S) for step in recipe.steps]
        assert difference(recipe, printed, names) == ""
        [job] = [json.loads(text(raw)) for raw in items(client.command("LRANGE", "queue:xmpp_events", "0", "-1"))]
        assert (job["class"], [job["jid"]]) == ("XmppEvent", [*names.ours.values()])
        assert job["args"][0]["body"] == "Hello Bob"
        # The other page ends it.
        assert is_slow(at, release)


def test_the_login_is_cheap_once_the_page_is_followed(release: str, tmp_path: Path, redis_url: str) -> None:
    shown = "ok       ejabberd  ejabberd issues tokens: it checks the password for a token alone.\n"
    assert f" {shown}" in LOGIN.read_text("utf-8")
    with followed(tmp_path, redis_url, SET_UP, LOGIN) as (server, at):
        assert is_slow(at, release)
        env, broker = tmp_path / "restbroker" / "env.json", at.services["restbroker"]
        env.write_text(env.read_text("utf-8").replace('"Basic"', '"Auto"'))
        assert isinstance(broker, Broker)
        broker.reload()
        typed(at, "restbroker check", shown)
        assert warned(at) <= OF_THE_TEST
        assert typed(at, "restbroker enqueue --wait connected_users_number") == "0\n"
        assert json.loads(server.call("oauth_list_tokens")[1]) != []
