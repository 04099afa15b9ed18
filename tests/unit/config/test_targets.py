"""What `Targets`, the flat keys beside it and their limits are read as."""

import json
import subprocess
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from restbroker.config.target import Target
from restbroker.job.json_types import Json
from restbroker.servers.ejabberd.outcomes import CHECK_LOGIN
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


def test_a_queue_that_is_served_here_is_taken_by_nobody_else(write: Write, refused: Refused) -> None:
    document = {"RestURL": "http://h", "RestQueue": "rest", "Token": "t"}
    assert write({**document, "TakenElsewhere": ["mail-*"]}).config.taken_elsewhere == ("mail-*",)
    (wrong,) = refused({**document, "TakenElsewhere": ["mail", "rest"]})
    assert wrong == "TakenElsewhere: names the queue 'rest', which a target here serves."


def test_turns_and_order_are_written_for_the_store(write: Write) -> None:
    def target(**members: Json) -> Target:
        return write(document({"one": entry(**members)})).config.targets[0]

    weights = {"Vip.example.org": 4, **{f"k{n}": 1 for n in range(199)}}
    fair = json.loads(target(FairBy=["host"], FairWeights=weights).key_rules)
    assert fair | {"weights": 0} == {"by": ["host"], "fair": 1, "host": "example.org", "weights": 0}
    assert fair["weights"]["vip.example.org"] == 4
    assert json.loads(target(FairBy="fair_key", Domain=None).key_rules) == {"fair_member": "fair_key"}
    order = json.loads(target(OrderBy=["user", "host"], OnDead="cancel").key_rules)
    made_by = "user,host example.org"
    assert order == {"by": ["user", "host"], "order": made_by, "dead": "stop", "host": "example.org"}
    order = json.loads(target(OrderBy="order_key", Domain=None).key_rules)
    assert order == {"order": "order_key ", "member": "order_key"}
    both = json.loads(target(FairBy=["host"], OrderBy=["user", "host"], Domain=None).key_rules)
    assert both == {"by": ["host", "user"], "fair": 1, "order": "host|user "}
    assert (target().fairness, target().key_rules) == (None, "")


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
        (
            {"CertFile": "ours.pem", "KeyFile": "locked.key"},
            "CertFile: * or the key has a passphrase (*); both must be *",
        ),
        ({"CertFile": "ours.pem"}, "CertFile: *ours.pem holds no key in PEM form; * its key as *TLS.KeyFile, *"),
        ({"CertFile": "ours.key", "KeyFile": "ours.key"}, "CertFile: *ours.key holds no certificate in PEM form; *"),
        ({"CertFile": "ours.pem", "KeyFile": "none.key"}, "KeyFile: * cannot be read: No such file*"),
        ({"KeyFile": "ours.key"}, "KeyFile: is the key of a certificate; give that too, as CertFile."),
    ):
        (found,) = refused(made_of(**tls))
        assert fnmatchcase(found, f"Targets.one.TLS.{problem}"), found


def test_a_hint_names_the_keys_of_its_target(write: Write) -> None:
    hint = "Check the URL (RestURL) and the user (RestUser); JabberDomains is a word of its own."
    (flat,) = write({**FLAT, "Token": "t"}).config.targets
    assert flat.name_own_keys(hint) == hint
    # Its name does not make it the flat one.
    (own,) = write(document({"ejabberd": entry()})).config.targets
    places = "Targets.ejabberd.URL", "Targets.ejabberd.Auth.Basic.User"
    assert own.name_own_keys(hint) == hint.replace("RestURL", places[0]).replace("RestUser", places[1])


@pytest.mark.parametrize(
    ("members", "keys"),
    [
        ({"Auth": {"Basic": {"User": "u", "Pass": "p"}}}, "{0}.Auth.Basic.User and {0}.Auth.Basic.Pass"),
        ({"Auth": {"Basic": {"User": "u", "PassFile": "f"}}}, "{0}.Auth.Basic.User and {0}.Auth.Basic.PassFile"),
        ({"Auth": {"Auto": {"User": "u", "PassFile": "f"}}}, "{0}.Auth.Auto.User and {0}.Auth.Auto.PassFile"),
        ({"Auth": {"Bearer": {"User": "u", "PassFile": "f"}}}, "{0}.Auth.Bearer.User and {0}.Auth.Bearer.PassFile"),
        ({"Auth": {"Bearer": {"TokenFile": "f"}}}, "{0}.Auth.Bearer.TokenFile"),
        ({"URL": "http://u:p@127.0.0.1:1", "Auth": None}, "{0}.URL"),
        ({"Auth": None}, "Auth"),
        ({"RestUser": "u", "RestPassFile": "f"}, "RestUser and RestPassFile"),
        ({"RestTokenFile": "f", "RestAuth": "bearer"}, "RestTokenFile"),
        ({"RestURL": "http://u:p@127.0.0.1:1"}, "RestURL"),
    ],
)
def test_a_hint_names_the_keys_that_the_login_came_from(
    write: Write, tmp_path: Path, members: dict[str, Json], keys: str
) -> None:
    (tmp_path / "f").write_text("secret")
    is_flat = any(name.startswith("Rest") for name in members)
    whole = {**FLAT, "Token": "t", **members} if is_flat else document({"chat": entry(**members)})
    (target,) = write(whole).config.targets
    for said in (CHECK_LOGIN, "Correct the target's login (Auth): ", "Correct the target's login (Auth, Headers)."):
        hint = target.name_own_keys(said)
        assert f"login ({keys.format('Targets.chat')}" in hint
        assert ("Headers" in hint) == ("Headers" in said)


def test_http2_is_an_error_that_says_what_to_do(refused: Refused) -> None:
    places = {
        "HTTP2": {**FLAT, "Token": "t", "HTTP2": True},
        "Targets.one.HTTP2": document({"one": entry(HTTP2=False)}),
        "Targets.one.Options.http2": document({"one": entry(Options={"http2": None})}),
    }
    for place, written in places.items():
        (problem,) = refused(written)
        assert problem.startswith(f"{place}: is not a key any more: "), problem
        assert 'were called "not done". Remove it; requests go over HTTP/1.1.' in problem


def test_the_password_of_a_proxy_is_a_secret_of_the_target(write: Write) -> None:
    proxy = {"Proxy": "http://p.example.org:3128", "ProxyUser": "u", "ProxyPass": "s3cret"}
    target = write(document({"one": entry(URL="https://xmpp.example.org/api", **proxy)})).config.targets[0]
    assert {secret.reveal() for secret in target.all_secrets} == {"t0ken", "s3cret"}
