"""What `Targets`, the flat keys beside it and their limits are read as."""

import json
import subprocess
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from restbroker.job.json_types import Json
from tests.unit.config.conftest import Refused, Write

FLAT: dict[str, Json] = {"RestURL": "http://127.0.0.1:5281/api", "RestQueue": "rest", "JabberDomain": "example.org"}
SIGNED = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=t")


def entry(**members: Json) -> dict[str, Json]:
    """A whole entry of Targets with these members changed; None takes one out."""
    whole: dict[str, Json] = {
        "Kind": "ejabberd",
        "URL": "http://127.0.0.1/api",
        "Domain": "example.org",
        "Queues": ["a"],
    }
    whole |= {"Auth": {"Bearer": {"Token": "t0ken"}}}
    return {name: value for name, value in {**whole, **members}.items() if value is not None}


def document(targets: Mapping[str, Json], **keys: Json) -> dict[str, Json]:
    return {"Token": "a-token", "Targets": dict(targets), **keys}


def test_what_is_wrong_in_a_target_is_told_with_its_place(refused: Refused) -> None:
    rows: list[tuple[dict[str, Json], str]] = [
        ({"Queues": ["a", "b", "a"]}, "Queues[2]: the queue 'a' is also Targets.one.Queues[0]; name it once."),
        ({"Auth": {}}, "Auth: is empty; give exactly one of Basic, Bearer and Auto"),
        ({"Auth": {"Bearer": {"User": "u", "Token": "t"}}}, "Auth.Bearer.User: say the same thing in two ways"),
        ({"Auth": {"Auto": {}, "Bearer": {}}}, "Auth.Auto: say the same thing in two ways"),
        ({"TLS": {"CertFile": "/dev/null"}}, "TLS.CertFile: /dev/null cannot be read: it is a FIFO, socket or device"),
    ]
    for members, expected in rows:
        (problem,) = refused(document({"one": entry(**members)}))
        assert problem.startswith("Targets.one."), members
        assert expected in problem, (members, expected)


def test_fairness_is_read_and_its_contradictions_are_told(write: Write, refused: Refused) -> None:
    rows: list[tuple[dict[str, Json], str]] = [
        ({"FairWeights": {"a": 2}}, "FairWeights: needs FairBy, which says by what jobs take turns."),
        ({"FairBy": ["host", "user"], "FairWeights": {"a": 2}}, "FairWeights: needs a FairBy of one name"),
        (
            {"FairBy": ["host"], "FairWeights": {f"k{n}": 2 for n in range(201)}},
            "FairWeights: has 201 entries; 200 are",
        ),
        (
            {"FairBy": ["host"], "FairWeights": {"A.org": 2, "a.org": 3}},
            "appears twice; keep one of the two.",
        ),
        ({"FairBy": ["host"], "FairWeights": {"a": 101}}, "a whole number from 1 to 100"),
        ({"FairBy": []}, 'expected "fair_key" or a list of 1 to 4 names of arguments such as ["host"]'),
        ({"FairBy": []}, "(an empty list names none), found a list."),
        ({"FairBy": "host"}, '(for the argument of this name write ["host"])'),
        ({"FairBy": "fairkey"}, '(did you mean "fair_key"?)'),
        ({"FairBy": "Fair-Key"}, '(did you mean "fair_key"?)'),
        ({"FairBy": ["fair_key"]}, 'expected "FairBy": "fair_key", without brackets, for the job\'s own member'),
        ({"FairBy": ["host", "fair_key"]}, "without brackets"),
    ]
    for members, expected in rows:
        problems = refused(document({"one": entry(**members)}))
        assert problems[0].startswith("Targets.one.Fair"), members
        assert expected in problems[0], (members, problems)
    members = {"FairBy": ["host"], "FairWeights": {"Vip.example.org": 4, **{f"k{n}": 1 for n in range(199)}}}
    fair = write(document({"one": entry(**members)})).config.targets[0].fairness
    assert fair is not None
    assert json.loads(fair.text) | {"weights": 0} == {"by": ["host"], "host": "example.org", "weights": 0}
    assert json.loads(fair.text)["weights"]["vip.example.org"] == 4
    own = write(document({"one": entry(FairBy="fair_key", Domain=None)})).config.targets[0].fairness
    assert own is not None
    assert own.text == "{}"
    assert write(document({"one": entry()})).config.targets[0].fairness is None


def test_order_is_read_and_its_contradictions_are_told(write: Write, refused: Refused) -> None:
    rows: list[tuple[dict[str, Json], str]] = [
        ({"OnDead": "stop"}, "OnDead: needs OrderBy, which says what is done in order."),
        ({"OrderBy": ["host", "user"], "FairBy": ["host"]}, "OrderBy: cannot be used with FairBy in one target: "),
        ({"OrderBy": ["host", "user"], "FairBy": ["host"]}, "Use two targets of one URL, each with a queue of its own"),
        ({"OrderBy": ["user"], "OnDead": "wait"}, "OnDead: "),
        ({"OrderBy": "fair_key"}, 'OrderBy: expected "order_key" or a list of 1 to 4 names'),
        ({"OrderBy": []}, "(an empty list names none), found a list."),
        ({"OrderBy": "user"}, '(for the argument of this name write ["user"])'),
        ({"OrderBy": "Order-Key"}, '(did you mean "order_key"?)'),
        ({"OrderBy": ["user", "order_key"]}, 'expected "OrderBy": "order_key", without brackets'),
        ({"OrderBy": ["user", "user"]}, "each argument's name once"),
    ]
    for members, expected in rows:
        problems = refused(document({"one": entry(**members)}))
        assert expected in problems[0], (members, problems)
    target = write(document({"one": entry(OrderBy=["user", "host"], OnDead="cancel")})).config.targets[0]
    assert json.loads(target.lines_text) == {"order": "stop", "by": ["user", "host"], "host": "example.org"}
    own = write(document({"one": entry(OrderBy="order_key", Domain=None)})).config.targets[0]
    assert json.loads(own.lines_text) == {"order": "go", "member": "order_key"}
    assert write(document({"one": entry()})).config.targets[0].lines_text == ""


def test_a_targets_name_is_short_and_plain(refused: Refused) -> None:
    for name in ("Main", "a_b", "", "x" * 33, "a.b"):
        (problem,) = refused(document({name: entry()}))
        assert problem.endswith(f"expected a name of 1 to 32 of a-z, 0-9 and -, found a string ({json.dumps(name)}).")


def test_a_queue_belongs_to_one_target_and_to_no_answers(refused: Refused) -> None:
    two = document({"one": entry(), "two": entry(Queues=["b", "a"])})
    assert refused(two) == [
        "Targets.two.Queues[1]: the queue 'a' is also Targets.one.Queues[0]; a queue belongs to one target."
    ]
    flat = document({"one": entry(Queues=["rest"])}, **FLAT)
    assert refused(flat) == [
        "Targets.one.Queues[0]: the queue 'rest' is also RestQueue; a queue belongs to one target."
    ]
    weighed = document({"one": entry(), "two": entry(Queues={"b": 2, "a": 1})})
    assert refused(weighed) == [
        "Targets.two.Queues.a: the queue 'a' is also Targets.one.Queues[0]; a queue belongs to one target."
    ]
    looped = document({"one": entry(Queues=["b", "answers"])}, ResponseQueue="answers")
    assert refused(looped) == [
        "ResponseQueue: is the same as Targets.one.Queues[1], so that every answer would become a job."
    ]


def test_a_flat_key_beside_targets_needs_its_queue_and_another_name(refused: Refused) -> None:
    (problem,) = refused(document({"one": entry()}, Concurrency=5))
    assert "RestQueue: is missing or empty; Concurrency defines its own target" in problem
    (problem,) = refused(document({"ejabberd": entry()}, **FLAT))
    assert problem.startswith(
        "Targets.ejabberd: has the name of the target that RestURL and the other flat keys define"
    )
    assert "RestQueue: is missing" in refused({"Token": "x"})[0]


def test_a_certificate_file_is_tried_and_used_for_https_only(write: Write, refused: Refused, tmp_path: Path) -> None:
    _openssl(tmp_path, *SIGNED, "-keyout", "key.pem", "-out", "ca.pem")
    ca, tls = tmp_path / "ca.pem", {"CAFile": "ca.pem"}
    target = write(document({"one": entry(URL="https://127.0.0.1/api", TLS=tls)})).config.targets[0]
    assert target.tls.ca == ca
    assert [note.code for note in write(document({"one": entry(TLS=tls)})).notes] == ["NoTLS"]
    ca.write_text("no certificate")
    (problem,) = refused(document({"one": entry(URL="https://127.0.0.1/api", TLS=tls)}))
    assert problem == f"Targets.one.TLS.CAFile: {ca} holds no certificate that can be read; it must be in PEM form."


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)


def test_a_clients_certificate_is_tried_with_its_key(write: Write, refused: Refused, tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        _openssl(tmp_path, *SIGNED, "-keyout", f"{name}.key", "-out", f"{name}.pem")
    _openssl(tmp_path, "ec", "-in", "ours.key", "-aes128", "-passout", "pass:secret", "-out", "locked.key")
    (tmp_path / "both.pem").write_text((tmp_path / "ours.pem").read_text() + (tmp_path / "ours.key").read_text())

    def made_of(**tls: Json) -> dict[str, Json]:
        return document({"one": entry(URL="https://127.0.0.1/api", TLS=tls)})

    files = write(made_of(CertFile="ours.pem", KeyFile="ours.key")).config.targets[0].tls
    assert (files.ca, files.cert, files.key) == (None, tmp_path / "ours.pem", tmp_path / "ours.key")
    files = write(made_of(CertFile="both.pem")).config.targets[0].tls
    assert (files.cert, files.key) == (tmp_path / "both.pem", None)
    for tls, problem in (
        ({"CertFile": "ours.pem", "KeyFile": "theirs.key"}, "KeyFile: * is not the key of the certificate in *"),
        ({"CertFile": "ours.pem", "KeyFile": "locked.key"}, "CertFile: * no readable certificate and key; *"),
        ({"CertFile": "ours.pem"}, "CertFile: * no readable certificate and key; * its key as *TLS.KeyFile, *"),
        ({"CertFile": "ours.key", "KeyFile": "ours.key"}, "CertFile: * no readable certificate and key; *"),
        ({"CertFile": "ours.pem", "KeyFile": "none.key"}, "KeyFile: * cannot be read: No such file*"),
        ({"KeyFile": "ours.key"}, "KeyFile: is the key of a certificate; give that too, as CertFile."),
    ):
        (found,) = refused(made_of(**tls))
        assert fnmatchcase(found, f"Targets.one.TLS.{problem}"), found


def test_notes_say_which_target_they_are_about(write: Write) -> None:
    loaded = write(document({"one": entry(Domain=None, URL="bob:pw@h/api", Auth=None, RequestTimeout="1m")}))
    assert [note.code for note in loaded.notes] == ["NoScheme", "LoginInURL", "PlainLogin", "NoDomain", "ShortShutdown"]
    assert "Targets.one.Domain is missing" in loaded.notes[3].message
    assert "Targets.one.URL" in loaded.notes[1].message
    none = write(document({"one": entry(Auth=None), "two": entry(Queues=["b"], RequestTimeout="1m")}))
    assert [note.code for note in none.notes] == ["NoCredentials", "ShortShutdown"]
    assert "RequestTimeout of two:" in none.notes[1].message


def test_a_queue_named_by_its_key_is_refused(refused: Refused) -> None:
    """It would be served as `queue:queue:rest`, into which no one pushes."""
    target = {"Kind": "http", "URL": "http://h/", "Queues": ["queue:low"]}
    for written in ({"RestQueue": "queue:rest"}, {"Targets": {"it": target}}):
        problems = refused({**FLAT, "Token": "t", **written})
        assert any("expected a queue's name, without queue: before it" in one for one in problems)


def test_a_hint_names_the_keys_of_its_target(write: Write) -> None:
    hint = "Check the URL (RestURL) and the user (RestUser); JabberDomains is a word of its own."
    (flat,) = write({**FLAT, "Token": "t"}).config.targets
    assert flat.name_own_keys(hint) == hint
    # Its name does not make it the flat one.
    (own,) = write(document({"ejabberd": entry()})).config.targets
    places = "Targets.ejabberd.URL", "Targets.ejabberd.Auth.Basic.User"
    assert own.name_own_keys(hint) == hint.replace("RestURL", places[0]).replace("RestUser", places[1])
