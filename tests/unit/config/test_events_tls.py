"""What `Events` shows with TLS, and the kind of source whose requests are signed: what counts, and what is refused."""

import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from restbroker.config.target import CertFiles
from restbroker.operate.check.config import check_config
from tests.transport.authority import Authority, authority
from tests.unit.config.conftest import Refused, Write

LONG: Final = "a-secret-of-many-letters"
BASE: Final[dict[str, Any]] = {"RestQueue": "rest", "Token": "t"}
TOPICS: Final = {"user_message_sent": {"Type": "message"}}
OPTIONS: Final[dict[str, Any]] = {"AccessKey": "MIM", "SecretKey": LONG, "Topics": TOPICS}
SOURCE: Final[dict[str, Any]] = {"Kind": "mongooseim-sns", "Queue": "events", "Class": "Event", "Options": OPTIONS}
POSTED: Final[dict[str, Any]] = {"Kind": "prosody-rest", "Path": "/p", "Secret": LONG, "Queue": "e", "Class": "E"}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))


def events(listen: str = "0.0.0.0:8081", source: Any = POSTED, **more: str) -> dict[str, Any]:
    return {**BASE, "Events": {"Listen": listen, "Sources": {"one": source}, **more}}


def test_a_certificate_beside_the_configuration_is_found(write: Write, tmp_path: Path, ours: Authority) -> None:
    shutil.copyfile(ours.pair("server")[0], tmp_path / "cert.pem")
    shutil.copyfile(ours.pair("server")[1], tmp_path / "key.pem")
    loaded = write(events(CertFile="cert.pem", KeyFile="key.pem"))
    assert loaded.config.events is not None
    assert loaded.config.events.tls == CertFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert "PlainEvents" not in {note.code for note in loaded.notes}


def test_without_a_certificate_an_open_address_is_noted(write: Write) -> None:
    assert "PlainEvents" in {note.code for note in write(events()).notes}
    signed = {note.code for note in write(events(source=SOURCE)).notes}
    assert "SignedWithoutTLS" in signed
    assert "PlainEvents" not in signed
    assert "SignedWithoutTLS" not in {note.code for note in write(events("127.0.0.1:0", source=SOURCE)).notes}


def test_a_wrong_pair_is_named(refused: Refused, ours: Authority) -> None:
    names = {"CertFile": "server.pem", "KeyFile": "client.key"}
    (problem,) = refused(events(**{key: str(ours.folder / name) for key, name in names.items()}))
    assert problem.startswith("Events.KeyFile: ")
    assert "is not the key of the certificate" in problem


def test_a_topic_that_leads_back_or_is_a_whole_arn_is_refused(refused: Refused) -> None:
    looped: dict[str, Any] = {"a": {"Type": "message", "Queue": "rest"}}
    arn: dict[str, Any] = {"arn:aws:sns:x:1:a": {"Type": "message"}}
    for topics, place, why in ((looped, "Topics.a.Queue", "serves the queue"), (arn, "Topics", "not its whole ARN")):
        (problem,) = refused(events(source={**SOURCE, "Options": OPTIONS | {"Topics": topics}}))
        assert problem.startswith(f"Events.Sources.one.Options.{place}")
        assert why in problem
        assert LONG not in problem, place


def test_a_topic_that_routes_do_not_count_for_needs_both(refused: Refused) -> None:
    rows: list[tuple[str, str]] = [("Queue", "Class"), ("Class", "Queue")]
    for given, missing in rows:
        routed = {key: value for key, value in SOURCE.items() if key not in ("Queue", "Class")}
        topics = {"a": {"Type": "message", given: "Things"}, "b": {"Type": "presence"}}
        routed |= {"Routes": [{"Queue": "q", "Class": "Q"}], "Options": {**OPTIONS, "Topics": topics}}
        (problem,) = refused(events(source=routed))
        assert problem.startswith(f"Events.Sources.one.Options.Topics.a.{missing}: is missing or empty")


def test_others_may_not_read_the_keys_unnoticed(write: Write, tmp_path: Path, ours: Authority) -> None:
    shutil.copyfile(ours.pair("server")[0], tmp_path / "cert.pem")
    shutil.copyfile(ours.pair("server")[1], tmp_path / "tls.key")
    (tmp_path / "key").write_text(f"{LONG}\n")
    for name in ("cert.pem", "tls.key", "key"):
        (tmp_path / name).chmod(0o644)
    options = {"AccessKey": "MIM", "SecretKeyFile": "key", "Topics": TOPICS}
    section = events(source={**SOURCE, "Options": options}, CertFile="cert.pem", KeyFile="tls.key")
    found = check_config(write(section))
    readable = "\n".join(finding.message for finding in found if finding.code == "WorldReadable")
    assert str(tmp_path / "key") in readable
    assert str(tmp_path / "tls.key") in readable
    assert str(tmp_path / "cert.pem") not in readable


def test_a_source_that_listens_on_a_loopback_address_of_its_own_needs_no_secret_there(
    write: Write, ours: Authority
) -> None:
    beside = {**POSTED, "Path": "/q", "Listen": "127.0.0.1:8083"}
    del beside["Secret"]
    section = events()
    section["Events"]["Sources"] |= {"two": beside, "three": {**beside, "Path": "/r"}}
    found = write(section).config.events
    assert found is not None
    served = {bind: [source.name for source in sources] for bind, sources in found.webhook_sources.items()}
    assert served == {found.listen: ["one"], ("127.0.0.1", 8083): ["two", "three"]}


def test_an_address_of_a_source_that_others_reach_or_that_is_taken_is_refused(refused: Refused) -> None:
    rows = {
        "0.0.0.0:8083": "expected a loopback address, found '0.0.0.0'",
        "127.0.0.1:8081": "127.0.0.1:8081 is taken by Events.Listen",
    }
    for address, why in rows.items():
        section = events()
        section["Events"]["Sources"]["two"] = {**POSTED, "Path": "/q", "Listen": address}
        (problem,) = refused(section)
        assert problem.startswith(f"Events.Sources.two.Listen: {why}"), address
    problems = refused(events("127.0.0.1:0", {"Kind": "openfire-sse", "Queue": "q", "Class": "E", "Listen": "[::1]:1"}))
    assert any(one.startswith("Events.Sources.one.Listen: has no effect") for one in problems)
