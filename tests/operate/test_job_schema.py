"""The JSON Schema of a job: what the docs and the golden commands push is valid in each form, and mistakes are not."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from dev.tools.pages import ROOT
from restbroker.job.command import ArgumentSpec, Catalogue, CommandSpec
from restbroker.job.json_types import Json
from restbroker.operate.job_schema import job_schema
from restbroker.servers import registry
from tests.golden import commands
from tests.golden.fates import target_of
from tests.support import process

KINDS: Final = {**commands.usual(), **commands.others()}
_BLOCK: Final = re.compile(r"^```json\n(.*?)^```$|'(\{\"class\".*?\})'", re.MULTILINE | re.DOTALL)
_SAMPLES: Final[Mapping[str, Json]] = {"string": "a text", "integer": 5, "any": {"key": ["value"]}}


@cache
def validator_of(name: str) -> tuple[Any, Catalogue, str | None]:
    """The schema of one golden target alone, its commands, and its default host."""
    target = target_of(KINDS[name])
    catalogue = registry.catalogue_of(target, None)
    return Draft202012Validator(job_schema([(catalogue, target.default_host)])), catalogue, target.default_host


def sample(argument: ArgumentSpec) -> Json:
    if argument.type != "list":
        return _SAMPLES[argument.type]
    return [{"key": "value"}] if argument.element == "object" else ["a text"]


def forms_of(spec: CommandSpec, default_host: str | None) -> list[Json]:
    """All arguments of a command, and those alone that it needs, each in every form that docs/jobs-format.md names."""
    all_of: dict[str, Json] = {argument.name: sample(argument) for argument in spec.arguments}
    needed = {
        argument.name: sample(argument)
        for argument in spec.arguments
        if not (argument.optional or (default_host is not None and "host" in (argument.name, *argument.aliases)))
    }
    forms: list[Json] = [[]] if not needed else []
    for given in (all_of, needed) if needed != all_of else (all_of,):
        forms += [given, [[name, value] for name, value in given.items()]]
        forms += [[{name: value} for name, value in given.items()], json.dumps(given)]
    return [*forms, *([None, {}] if not needed else []), *([["john", "aaron"]] if spec.bare else [])]


def job(command: Json, arguments: Json, *more: Json, **members: Json) -> dict[str, Json]:
    return {"class": "Restbroker", "jid": "5f0c", "args": [command, arguments, "TOKEN", *more], **members}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(command, marks=[] if command in ("ejabberd", "prosody-rest") else pytest.mark.nightly)
        for command in (*commands.usual(), *commands.others())
    ],
)
def test_each_command_is_valid_in_each_form_of_its_arguments(name: str) -> None:
    validator, catalogue, default_host = validator_of(name)
    assert catalogue.commands or name == "http"
    Draft202012Validator.check_schema(validator.schema)
    for command, spec in catalogue.commands.items():
        below = Draft202012Validator({"$defs": validator.schema["$defs"], **validator.schema["$defs"][command]})
        forms = forms_of(spec, default_host)
        for form in forms:
            below.validate(form)
        strange = [form for form in forms if isinstance(form, dict) and not spec.takes_more]
        assert not any(below.is_valid({**form, "surprise": 1}) for form in strange), command


def test_every_job_of_the_page_for_producers_is_valid() -> None:
    # Most leave the host to JabberDomain.
    validator = Draft202012Validator(job_schema([(validator_of("ejabberd")[1], "example.org")]))
    page = (ROOT / "docs/producers.md").read_text("utf-8")
    jobs = [json.loads(whole or line) for whole, line in _BLOCK.findall(page)]
    pushed = [job for job in jobs if "args" in job and job["class"] != "Add"]  # Add: an answer of restbroker
    assert len(pushed) >= 2
    for job in pushed:
        validator.validate(job)
        validator.validate({**job, "args": json.dumps(job["args"])})


REGISTER: Final[dict[str, Json]] = {"user": "bob", "host": "example.org", "password": "s3cret"}
RIGHT: Final[Mapping[str, Json]] = {
    "a reply id": job("register", REGISTER, "order-7"),
    "a number as a reply id": job("register", REGISTER, 7),
    "more than four elements, which are not read": job("register", 5, 7, None),
    "a job of ActiveJob": {"args": [{"job_class": "Command", "arguments": ["register", REGISTER, "TOKEN"]}]},
    "a command that is not known": job("make_coffee", {"sugar": 2}),
    "another version of a command": job("register/v1", {"anything": True}),
    "args as text, which is not read": {"args": "no JSON"},
    "arguments as text, which are not read": job("register", "no JSON"),
    "foreign members": job("register", REGISTER, tags=["x"], bid="b", cattr={"k": 1}, created_at=1790000000000),
    "all members": job(
        "register",
        REGISTER,
        retry=5,
        expiry=1790000000.5,
        idempotency_key="order-17",
        order_key="customer-7",
        fair_key="tenant-1",
        reply_to="restbroker:reply:5f0c",
        ok_if_exists=True,
        dead=False,
    ),
    "a bare name for the answer": job("register", REGISTER, reply_to="5f0c"),
}
WRONG: Final[Mapping[str, Json]] = {
    "no object": [],
    "no args": {"class": "Restbroker", "jid": "5f0c"},
    "no token, but a member of ActiveJob": {"args": ["register", {**REGISTER, "job_class": "Command"}]},
    "no token": {"args": ["register", REGISTER]},
    "args that are an object": {"args": {"command": "register"}},
    "a command that is a path": job("/api/register?x=1", REGISTER),
    "a token that is a number": {"args": ["register", REGISTER, 5]},
    "arguments that are a number": job("register", 5),
    "a missing argument": job("register", {"user": "bob", "host": "example.org"}),
    "a missing argument in a list": job("register", [["user", "bob"], ["host", "example.org"]]),
    "no arguments": job("register", None),
    "an unknown argument": job("register", {**REGISTER, "nick": "b"}),
    "an unknown argument in a list": job("register", [*([k, v] for k, v in REGISTER.items()), {"nick": "b"}]),
    "an argument twice": job("register", [*([k, v] for k, v in REGISTER.items()), ["user", "eve"]]),
    "a wrong type": job("register", {**REGISTER, "user": 5}),
    "a wrong type in a list": job("register", [["user", 5], *([k, v] for k, v in REGISTER.items() if k != "user")]),
    "an empty password": job("register", {**REGISTER, "password": ""}),
    "a reply id that is an object": job("register", REGISTER, {}),
    "a key without a jid": {"args": ["register", REGISTER, "TOKEN"], "idempotency_key": "order-17"},
    "an empty key": job("register", REGISTER, idempotency_key=""),
    "an expiry that is text": job("register", REGISTER, expiry="in an hour"),
    "another key of Redis for the answer": job("register", REGISTER, reply_to="queue:rest"),
}


@pytest.mark.parametrize("what", RIGHT)
def test_every_permitted_push_is_valid(what: str) -> None:
    validator_of("ejabberd")[0].validate(RIGHT[what])


@pytest.mark.parametrize("what", WRONG)
def test_job_that_would_die_or_do_nothing_is_invalid(what: str) -> None:
    assert not validator_of("ejabberd")[0].is_valid(WRONG[what])


def test_the_schema_keeps_to_what_a_strict_validator_takes() -> None:
    """No format of our own, one type at a place, closed lists: tests/clients/test_schema_in_ajv.py tries ajv."""

    def judge(value: Any) -> None:
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            judge(inner)
        if isinstance(value, dict) and "const" not in value and "enum" not in value:
            assert not isinstance(value.get("format"), str), value
            if isinstance(types := value.get("type"), list):
                assert len(types) == 2, value
                assert types[1] == "null", value
            if isinstance(positions := value.get("prefixItems"), list):
                assert value["minItems"] == value["maxItems"] == len(positions), value

    judge(validator_of("ejabberd")[0].schema)


def test_job_any_of_several_targets_takes_is_valid() -> None:
    pairs = [validator_of(name)[1:] for name in ("ejabberd", "mongooseim", "openfire-rest")]
    validator = Draft202012Validator(job_schema(pairs))
    validator.validate(job("register", REGISTER))
    for command in ("account.countUsers", "account/countUsers"):
        validator.validate(job(command, {"domain": "example.org"}))
        assert not validator.is_valid(job(command, {"domains": "example.org"}))


def test_secrets_are_marked_and_none_is_in_the_schema() -> None:
    for name in ("openfire-chat-secret", "mongooseim-domain", "ejabberd"):
        validator, catalogue, _ = validator_of(name)
        assert not re.search("s3cret|pass-of", json.dumps(validator.schema))
        for command, spec in catalogue.commands.items():
            for argument in (argument for argument in spec.arguments if argument.secret):
                below = validator.schema["$defs"][command]
                for form in below.get("anyOf", [below]):
                    value = form.get("then", {}).get("properties", {}).get(argument.name, {"writeOnly": True})
                    assert value["writeOnly"] is True, command


def test_the_command_prints_the_schema_of_the_configured_targets(tmp_path: Path) -> None:
    targets = {
        "chat": {"Kind": "ejabberd", "URL": "http://127.0.0.1:1/api", "Queues": ["a"], "Domain": "example.org"},
        "shop": {"Kind": "openfire-rest", "URL": "http://127.0.0.1:1/plugins/restapi/v1", "Queues": ["b"]},
    }
    document = {"RedisURL": "redis://127.0.0.1:1/0", "Token": "a-token-of-35", "Targets": targets}
    (tmp_path / "env.json").write_text(json.dumps(document))

    def printed(*more: str) -> Any:
        done = process.run_here(["commands", "--schema", *more], directory=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "a-token-of-35" not in done.stdout
        return json.loads(done.stdout)

    both, one = printed("--config", "env.json"), printed("--config", "env.json", "--target", "shop")
    assert {"register", "lock_user"} <= both["$defs"].keys()
    assert "register" not in one["$defs"]
    Draft202012Validator(both).validate(job("register", {"user": "bob", "password": "s3cret"}))
    assert "account.countUsers" in printed("--kind", "mongooseim")["$defs"]
    assert process.run_here(["commands", "--schema"], directory=tmp_path / "..").returncode == 2
