"""What sources of events and the roster service show to others: with which secrets, certificates and notes."""

import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from restbroker.app.reload import warnings_of
from restbroker.config.core import LoadedConfig
from restbroker.config.target import CertFiles
from restbroker.operate.check.config import check_config
from restbroker.servers.component.options import ROOM_LIFE, Options
from tests.transport.authority import Authority, authority
from tests.unit.config.conftest import Refused, Write

BASE: Final[dict[str, Any]] = {"RestQueue": "rest", "Token": "t"}
LONG: Final = "a-secret-of-many-letters"
TOPICS: Final = {"user_message_sent": {"Type": "message"}}
OPTIONS: Final[dict[str, Any]] = {"AccessKey": "MIM", "SecretKey": LONG, "Topics": TOPICS}
SIGNED: Final[dict[str, Any]] = {"Kind": "mongooseim-sns", "Queue": "events", "Class": "Event", "Options": OPTIONS}
POSTED: Final[dict[str, Any]] = {"Kind": "prosody-rest", "Path": "/p", "Queue": "e", "Class": "E"}
LOCKED: Final = POSTED | {"Secret": LONG}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))


def events(listen: str = "0.0.0.0:8081", source: Any = LOCKED, **more: str) -> dict[str, Any]:
    return {**BASE, "Events": {"Listen": listen, "Sources": {"one": source}, **more}}


def rosters(**members: Any) -> dict[str, Any]:
    return {**BASE, "Roster": members}


def noted(loaded: LoadedConfig) -> set[str]:
    return {note.code for note in loaded.notes}


@pytest.mark.promise("Security: who can reach the ports", "to have an event taken that no server sent")
def test_a_source_that_others_reach_needs_a_long_secret(refused: Refused, write: Write) -> None:
    for address in ("0.0.0.0:8081", "[::]:8081", "events.example.org:80"):
        (missing,) = refused(events(address, POSTED))
        assert missing.startswith("Events.Sources.one.Secret: is missing or empty, and Listen is open to others;")
        (short,) = refused(events(address, POSTED | {"Secret": "short"}))
        assert "expected at least 16 characters, found fewer" in short, address
        assert "'short'" not in short, address
        loaded = write(events(address))
        assert "PlainEvents" in noted(loaded), address
        assert LONG not in repr(loaded), address


@pytest.mark.promise
@pytest.mark.parametrize(
    "options",
    [{"Name": "events.example.com", "ForeignName": True}, {"Address": "xmpp.example.org:5347", "TLS": True}],
    ids=["a foreign name", "another machine"],
)
def test_a_component_that_is_elsewhere_is_taken_if_it_is_meant(write: Write, options: dict[str, Any]) -> None:
    given = {"Name": "events.example.org", "Hosts": ["example.org"], "Pass": "secret", **options}
    source = {"Kind": "ejabberd-component", "Queue": "xmpp", "Class": "Event", "Options": given}
    assert write(events(source=source)).config.events is not None


@pytest.mark.promise
def test_one_process_reads_events_of_rooms_and_a_note_says_so(write: Write) -> None:
    def loaded(*takes: str, **more: str) -> tuple[LoadedConfig, float | None]:
        given = {"Name": "events.example.org", "Hosts": ["example.org"], "Pass": "p", "Take": takes, **more}
        found = write(events(source={"Kind": "ejabberd-component", "Queue": "x", "Class": "E", "Options": given}))
        assert found.config.events is not None
        options = found.config.events.sources[0].options
        assert isinstance(options, Options)
        return found, options.lease_s

    for kind in ROOM_LIFE:
        found, lease_s = loaded("message", kind)
        assert lease_s == 15.0
        (note,) = [note for note in found.notes if note.code == "RoomsLease"]
        assert "messages too" in note.message
    for takes, more, expected_s in ((("message", "receipt"), {}, None), (("joined",), {"Lease": "5s"}, 5.0)):
        found, lease_s = loaded(*takes, **more)
        assert (lease_s, "RoomsLease" in noted(found)) == (expected_s, False)


def test_a_certificate_beside_the_configuration_is_found(write: Write, tmp_path: Path, ours: Authority) -> None:
    put(ours, tmp_path)
    loaded = write(events(CertFile="cert.pem", KeyFile="tls.key"))
    assert loaded.config.events is not None
    assert loaded.config.events.tls == CertFiles(tmp_path / "cert.pem", tmp_path / "tls.key")
    assert "PlainEvents" not in noted(loaded)


def put(ours: Authority, folder: Path) -> None:
    for source, name in zip(ours.pair("server"), ("cert.pem", "tls.key"), strict=True):
        shutil.copyfile(source, folder / name)


def test_signed_requests_without_a_certificate_are_noted(write: Write) -> None:
    signed = noted(write(events(source=SIGNED)))
    assert "SignedWithoutTLS" in signed
    assert "PlainEvents" not in signed
    assert "SignedWithoutTLS" not in noted(write(events("127.0.0.1:0", SIGNED)))


def test_a_wrong_pair_is_named(refused: Refused, ours: Authority) -> None:
    names = {"CertFile": "server.pem", "KeyFile": "client.key"}
    (problem,) = refused(events(**{key: str(ours.folder / name) for key, name in names.items()}))
    assert problem.startswith("Events.KeyFile: ")
    assert "is not the key of the certificate" in problem


def test_others_may_not_read_the_keys_unnoticed(write: Write, tmp_path: Path, ours: Authority) -> None:
    put(ours, tmp_path)
    (tmp_path / "key").write_text(f"{LONG}\n")
    for name in ("cert.pem", "tls.key", "key"):
        (tmp_path / name).chmod(0o644)
    options = {"AccessKey": "MIM", "SecretKeyFile": "key", "Topics": TOPICS}
    section = events(source={**SIGNED, "Options": options}, CertFile="cert.pem", KeyFile="tls.key")
    for document, files in ((section, ["tls.key", "key"]), (rosters(Auth={"Key": {"ValueFile": "key"}}), ["key"])):
        found = check_config(write(document))
        readable = "\n".join(finding.message for finding in found if finding.code == "WorldReadable")
        assert all(str(tmp_path / name) in readable for name in files)
        assert str(tmp_path / "cert.pem") not in readable


@pytest.mark.promise("Security: who can reach the ports", "to read rosters, or to learn the key to them")
def test_rosters_that_others_reach_need_a_login(write: Write, refused: Refused) -> None:
    for host in ("192.0.2.1", "[::]", "xmpp.example.org"):
        (problem,) = refused(rosters(Listen=f"{host}:8082", Serve=False))
        assert problem.startswith("Roster.Listen: ")
        assert "is open to others, and rosters have no login" in problem
        loaded = write(rosters(Listen=f"{host}:8082", Auth={"Key": {"Value": "4711-key"}}))
        levels = {finding.code: finding.level for finding in check_config(loaded)}
        assert levels["PlainRosters"] == "warning", host


def test_a_change_of_rosters_counts_after_a_restart(write: Write) -> None:
    before = write(rosters()).config
    *_, warned = warnings_of(before, write(rosters(Listen="127.0.0.1:1")))
    assert (warned.code, warned.message) == ("NeedsRestart", "Roster: the change takes effect after a restart.")
