"""What `config.load` makes of files, variables and flags."""

import contextlib
import json
import pickle
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restbroker.config import document
from restbroker.config.core import LoadedConfig, all_keys
from restbroker.config.key import Members
from restbroker.config.load import load
from restbroker.config.secret import Secret
from restbroker.errors import ConfigError
from restbroker.job.backoff import ExponentialBackoff
from restbroker.job.json_types import Json
from restbroker.servers.ejabberd.options import Options

KINDS: Mapping[str, Members] = {"ejabberd": Options}
MINIMAL: dict[str, Json] = {
    "RestQueue": "rest",
    "Token": "a-token",
    "RestUser": "admin@example.org",
    "RestPass": "a-password",
    "RestURL": "http://127.0.0.1:5281/api",
    "JabberDomain": "example.org",
}

SAMPLE = Path(__file__).parents[3] / "env.json.sample"
Load = Callable[..., LoadedConfig]


@pytest.fixture
def load_keys(tmp_path: Path) -> Load:
    """Loads the minimal configuration with these keys changed; None takes a key out."""

    def run(
        environ: Mapping[str, str] | None = None, flags: Mapping[str, Json] | None = None, **keys: Json
    ) -> LoadedConfig:
        document = {name: value for name, value in {**MINIMAL, **keys}.items() if value is not None}
        path = tmp_path / "env.json"
        path.write_text(json.dumps(document))
        return load(path, environ or {}, flags or {}, KINDS)

    return run


def problem(load_keys: Load, **keys: Json) -> str:
    with pytest.raises(ConfigError) as caught:
        load_keys(**keys)
    return str(caught.value)


def codes(loaded: LoadedConfig) -> list[str]:
    return [note.code for note in loaded.notes]


@pytest.mark.promise("Defects of the Go original", "mandatory keys could be missing")
def test_every_mandatory_key_that_is_missing_is_named_at_once(load_keys: Load) -> None:
    text = problem(load_keys, RestQueue=None, Token="", RestPass=None)
    assert all(name in text for name in ("RestQueue: is missing", "Token: is missing", "RestPass: is missing"))


@pytest.mark.promise("Defects of the Go original", "ProcessID as a number ended it")
def test_keys_without_effect_are_noted_whatever_they_hold(load_keys: Load) -> None:
    keys = ("ProcessID", "RedisPoolCount", "MaxIdleConnections", "JabberRestHost")
    values: tuple[Json, ...] = ("1", 1, 7.5, [], {"a": 1})
    for key, value in product(keys, values):
        loaded = load_keys(**{key: value})
        assert codes(loaded) == ["KeyIgnored"], (key, value)
        assert key in loaded.notes[0].message


@pytest.mark.promise("Defects of the Go original", "Concurrency had no effect, only the misspelt one")
def test_the_misspelt_concurrency_counts_with_a_note(load_keys: Load) -> None:
    misspelt = load_keys(Concurreny=7)
    assert (misspelt.config.targets[0].concurrency, codes(misspelt)) == (7, ["KeyMisspelt"])
    both = load_keys(Concurreny=7, Concurrency=8)
    assert (both.config.targets[0].concurrency, codes(both)) == (8, ["KeyIgnored"])


def test_flags_win_over_variables_and_variables_over_the_file(load_keys: Load) -> None:
    environ = {"RESTBROKER_CONCURRENCY": "30", "RESTBROKER_LOG_LEVEL": "warning", "RESTBROKER_REST_QUEUE": "other"}
    loaded = load_keys(environ, {"LogLevel": "debug"}, Concurrency=7)
    target = loaded.config.targets[0]
    assert (target.concurrency, loaded.config.log_level, target.queues) == (30, "debug", ("other",))


def test_variables_take_switches_durations_and_objects(load_keys: Load) -> None:
    environ = {
        "RESTBROKER_STATS": "true",
        "RESTBROKER_REQUESTTIMEOUT": "1.5",
        "RESTBROKER_BACKOFF": '{"Base": "3s", "Cap": "2m"}',
        "RESTBROKER_TOKEN": "123",
    }
    config = load_keys(environ).config
    assert (config.stats, config.targets[0].timeout_s) == (True, 1.5)
    assert config.backoff == ExponentialBackoff(3.0, 2.0, 120.0)
    assert config.tokens[0].secrets[0].reveal() == "123"


def test_a_variable_sets_no_part_of_a_key(load_keys: Load) -> None:
    """Dropped in silence it would take limits, secrets and `AtMostOnce` away."""
    for variable, message in {
        "RESTBROKER_BACKOFF__CAP": "write it into Backoff in env.json (a secret into a file that",
        "RESTBROKER_TARGETS__ONE__AUTH__BASIC__PASS": "or set RESTBROKER_TARGETS to the whole of Targets as JSON",
        "RESTBROKER_REST_PASS__FILE": "RestPass has no parts; set RestPass in env.json, RESTBROKER_RESTPASS, or "
        "RESTBROKER_RESTPASSFILE to a file.",
    }.items():
        with pytest.raises(ConfigError) as caught:
            load_keys({variable: "hunter2"})
        assert f"{variable}: " in str(caught.value)
        assert message in str(caught.value)
        assert "hunter2" not in str(caught.value)
        assert codes(load_keys({variable: ""})) == []


def test_a_variable_replaces_the_whole_key(load_keys: Load) -> None:
    whole = {"app": {"Secret": "one"}}
    loaded = load_keys({"RESTBROKER_TOKENS": json.dumps(whole)}, Tokens={"other": {"Secret": "two", "Allow": ["x"]}})
    assert [(token.name, token.allow) for token in loaded.config.tokens[1:]] == [("app", ("*",))]
    with pytest.raises(ConfigError, match=r"RESTBROKER_TOKENS\.app\.Secret: expected a string"):
        load_keys({"RESTBROKER_TOKENS": '{"app": {"Secret": 5}}'})


def test_a_wrong_variable_is_named_an_unknown_one_noted(load_keys: Load) -> None:
    with pytest.raises(ConfigError, match="RESTBROKER_CONCURRENCY: expected a whole number"):
        load_keys({"RESTBROKER_CONCURRENCY": "many"})
    loaded = load_keys({"RESTBROKER_CONCURENCY": "1", "RESTBROKER_SERVICE_HOST": "10.0.0.1"})
    assert codes(loaded) == ["UnknownVariable"]
    assert "did you mean Concurrency" in loaded.notes[0].message


def test_the_environment_alone_can_be_the_whole_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {f"RESTBROKER_{name.upper()}": str(value) for name, value in MINIMAL.items()}
    loaded = load(None, environ, {}, KINDS)
    assert (loaded.path, loaded.config.targets[0].queues) == (None, ("rest",))


def test_without_a_configuration_the_places_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load(None, {}, {}, KINDS)
    places = ("--config", "$RESTBROKER_CONFIG", str(tmp_path / "env.json"), "/etc/restbroker/env.json", "config init")
    assert all(place in str(caught.value) for place in places)


def test_a_place_that_may_not_be_looked_into_holds_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # The system answers such a name with an error, too, whoever asks.
    monkeypatch.setattr(document, "SYSTEM_FILE", Path("/etc") / ("n" * 300) / "env.json")
    with pytest.raises(ConfigError, match="that you may read"):
        load(None, {}, {}, KINDS)


def test_the_file_is_looked_up_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("flag.json", "variable.json", "env.json"):
        (tmp_path / name).write_text(json.dumps({**MINIMAL, "RestQueue": name}))
    variable = {"RESTBROKER_CONFIG": str(tmp_path / "variable.json")}
    found = [
        load(path, environ, {}, KINDS)
        for path, environ in ((Path("flag.json"), variable), (None, variable), (None, {}))
    ]
    assert [loaded.config.targets[0].queues[0] for loaded in found] == ["flag.json", "variable.json", "env.json"]


@pytest.mark.promise("Defects of the Go original", "the default of RestURL could not work")
def test_a_missing_url_or_scheme_is_filled_in(load_keys: Load) -> None:
    missing = load_keys(RestURL=None)
    assert (str(missing.config.targets[0].url), codes(missing)) == ("http://localhost:5281", ["DefaultURL"])
    bare = load_keys(RestURL="localhost:5281")
    assert (str(bare.config.targets[0].url), codes(bare)) == ("http://localhost:5281", ["NoScheme"])


@pytest.mark.promise("Defects of the Go original", "RedisHost without a port was tried forever")
def test_redis_host_may_lack_a_port_or_be_a_url(load_keys: Load) -> None:
    assert load_keys(RedisHost="r1", RedisDatabase=3).config.redis_url == "redis://r1:6379/3"
    url = load_keys(RedisHost="redis://:pw@r2:7000/2")
    assert (url.config.redis_url, codes(url)) == ("redis://r2:7000/2", ["KeyMisspelt"])
    assert url.config.redis_password == Secret("pw")
    assert "RedisURL and RedisHost: say the same" in problem(load_keys, RedisURL="redis://a", RedisHost="b")


@pytest.mark.parametrize("service", ["", "WEB_", "STATS_", "REDIS_", "REDIS_URL_", "X_PORT_1_"])
def test_variables_of_a_kubernetes_service_are_no_keys(service: str, load_keys: Load) -> None:
    links = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "80",
        "SERVICE_PORT_HTTP": "80",
        "PORT": "tcp://10.0.0.1:80",
        "PORT_80_TCP": "tcp://10.0.0.1:80",
        "PORT_80_TCP_PROTO": "tcp",
        "PORT_80_TCP_PORT": "80",
        "PORT_80_TCP_ADDR": "10.0.0.1",
    }
    loaded = load_keys({f"RESTBROKER_{service}{name}": value for name, value in links.items()})
    assert codes(loaded) == []
    assert loaded.config == load_keys({}).config


def test_a_port_in_a_variable_is_still_a_key(load_keys: Load) -> None:
    assert load_keys({"RESTBROKER_STATS_PORT": "8123"}).config.stats_port == 8123


@pytest.mark.promise(
    "Security: who has an account on the host, or controls the configuration",
    "to find secrets in a dump, a traceback or a copy",
)
def test_no_repr_or_copy_of_a_configuration_shows_a_secret(load_keys: Load) -> None:
    loaded = load_keys(RedisURL="redis://bob:hunter2@h", Token="hunter3", RestPass="hunter4")
    assert "hunter" not in f"{loaded!r} {attrs.asdict(loaded)} {attrs.astuple(loaded)}"
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        pickle.dumps(loaded.config.tokens)


@pytest.mark.promise(
    "Security: who has an account on the host, or controls the configuration",
    "to find secrets in a dump, a traceback or a copy",
)
def test_an_unreadable_secret_is_not_in_the_exception(tmp_path: Path) -> None:
    (tmp_path / "pass").write_bytes(b"hunter2 \xff")
    with pytest.raises(ConfigError, match="neither UTF-8 nor UTF-16") as caught:
        Secret(path=tmp_path / "pass").reveal()
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert "hunter" not in repr(chain)


def test_a_file_that_is_no_configuration_says_why(tmp_path: Path) -> None:
    path = tmp_path / "env.json"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(path, {}, {}, KINDS)
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path, {}, {}, KINDS)


variable_texts = st.text(max_size=20) | st.sampled_from(["{}", "[1]", "1e999", "NaN", "true", "null", "[" * 9999])


@given(st.dictionaries(st.sampled_from([key.name.upper() for key in all_keys().values()]), variable_texts, max_size=4))
@settings(deadline=None)
def test_no_variable_raises_anything_but_a_config_error(variables: dict[str, str]) -> None:
    environ = {f"RESTBROKER_{name}": value for name, value in variables.items()}
    with contextlib.suppress(ConfigError):
        assert load(SAMPLE, environ, {}, KINDS).config.targets


@pytest.mark.promise("Security: who can reach the ports", "to get in without the login")
def test_stats_without_a_login_are_served_on_loopback_only(load_keys: Load) -> None:
    assert [
        address
        for address in ("0.0.0.0", "192.168.1.4", "::", "stats.example.org")  # noqa: S104  refused
        if "StatsBind" not in problem(load_keys, Stats=True, StatsBind=address)
    ] == []


def test_how_late_a_periodic_command_may_be(load_keys: Load) -> None:
    usual: dict[str, Json] = {"Cron": "@daily", "Command": "status"}
    once = {**usual, "Missed": "once"}
    for written, late_s in (
        (usual, 60.0),
        ({**once, "CatchUp": "2h"}, 7200.0),
        ({**once, "CatchUp": "1s", "Within": "5m"}, 300.0),
    ):
        assert load_keys(Periodic={"nightly": written}).config.periodic[0].late_s == late_s
