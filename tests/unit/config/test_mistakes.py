"""All wrong shapes are reported at once, else all wrong meanings; each once, and none that only follows."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, assert_never

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restbroker.config.core import Config
from restbroker.config.key import ANYTHING, Form, Items, Keys, Names, Notation, OptionsOf, keys_of, notation_of
from restbroker.config.load import load
from restbroker.errors import ConfigError
from restbroker.events import registry as sources
from restbroker.job.json_types import Json
from restbroker.servers import registry
from tests.support.whole_config import SECRET, whole

KINDS = registry.kinds()
SOURCES = sources.kinds()
GONE = object()
Place = tuple[str | int, ...]


@attrs.frozen
class Mistake:
    """`put` at `place`, reported at `reported_at`. `hides`: places of which nobody can judge anything then."""

    place: Place
    put: Any
    reported_at: str
    hides: tuple[Place, ...] = ()

    @property
    def touched(self) -> tuple[Place, ...]:
        return (self.place, *self.hides)


def path(place: Place) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def wrong_types(annotation: Any, value: Any, place: Place, kind: str = "") -> Iterator[Mistake]:
    """At each place of the document in turn, a value of a type that is not taken there."""
    said = notation_of(annotation)
    if isinstance(said, Items) and isinstance(value, Mapping):
        yield from wrong_types(said.weights, value, place)
        return
    if said is ANYTHING:
        return
    if place:
        hides = ((*place[:-1], "Options"),) if place[-1] == "Kind" else ()
        yield Mistake(place, [[SECRET]] if isinstance(said, Form) else 5, path(place), hides)
    if isinstance(said, Keys | OptionsOf):
        yield Mistake((*place, "Zzyzx"), 1, path((*place, "Zzyzx")))
    for inner, name in parts(said, value, kind):
        of = value.get("Kind", "") if isinstance(value, Mapping) else ""
        yield from wrong_types(inner, value[name], (*place, name), of)


def parts(said: Notation, value: Any, kind: str) -> list[tuple[Any, str | int]]:
    """The type of each part of the value, with its name or number."""
    match said:
        case Form():
            return []
        case Items(item=item):
            return [(item, number) for number in range(len(value))]
        case Names(entry=entry):
            return [(entry, name) for name in value]
        case OptionsOf(of):
            members = (KINDS if of == "targets" else SOURCES)[kind]
        case Keys(members):
            pass
        case _:
            assert_never(said)
    return [(keys_of(members)[name].type, name) for name in value]


def changed(document: Mapping[str, Any], mistakes: list[Mistake]) -> dict[str, Any]:
    copied: Any = json.loads(json.dumps(document))
    for mistake in mistakes:
        *way, last = mistake.place
        inner: Any = copied
        for part in way:
            inner = inner[part]
        if mistake.put is GONE:
            del inner[last]
        else:
            inner[last] = mistake.put
    return dict(copied)


def problems(document: dict[str, Any], folder: Path) -> list[str]:
    file = folder / "env.json"
    file.write_text(json.dumps(document))
    try:
        load(file, {}, {}, KINDS, SOURCES)
    except ConfigError as error:
        shown = f"{error}\n{error!r}"
        found = [line.strip() for line in error.message.splitlines()[1:]]
    else:
        return []
    assert SECRET not in shown
    return found


def places(problems: list[str]) -> list[str]:
    return sorted(problem.partition(": ")[0] for problem in problems)


_T, _S = ("Targets",), ("Events", "Sources")
JUDGED = [
    # A kind judges a target whose URL and login are right.
    *(
        Mistake((*_T, name, "URL"), "ftp://x", f"Targets.{name}.URL", ((*_T, name, "Options"),))
        for name in ("hook", "chat", "prosody")
    ),
    *(Mistake(("Targets", name, "Queues"), GONE, f"Targets.{name}.Queues") for name in ("mongoose", "openfire")),
    Mistake(("Targets", "ejabberd-2", "Queues", 1), "rest", "Targets.ejabberd-2.Queues[1]", (("RestQueue",),)),
    Mistake((*_T, "mongoose", "Kind"), "mongose", "Targets.mongoose.Kind", ((*_T, "mongoose", "Options"),)),
    Mistake((*_T, "mongoose", "Auth", "Basic", "Pass"), GONE, "Targets.mongoose.Auth.Basic.Pass"),
    Mistake((*_T, "chat", "Auth", "Basic", "User"), "admin:x", "Targets.chat.Auth.Basic.User"),
    Mistake((*_T, "chat", "TLS"), {"CAFile": "none.pem"}, "Targets.chat.TLS.CAFile"),
    *(
        Mistake((*_T, "hook", "Options", "Commands", name, "Path"), "/{", f"Targets.hook.Options.Commands.{name}.Path")
        for name in ("add", "remove", "find")
    ),
    Mistake((*_T, "hook", "Options", "Headers", "Host"), "x", "Targets.hook.Options.Headers.Host"),
    Mistake((*_T, "hook", "Options", "Probe", "Path"), "/{x}", "Targets.hook.Options.Probe.Path"),
    Mistake(
        (*_T, "roster", "Options", "MaxWait"),
        "1ms",
        "Targets.roster.Options.MaxWait",
        ((*_T, "roster", "Options", "Debounce"),),
    ),
    Mistake((*_S, "sns", "Options", "Topics", "sent", "Type"), GONE, "Events.Sources.sns.Options.Topics.sent.Type"),
    Mistake((*_S, "sse", "Options", "PasswordsFile"), "none", "Events.Sources.sse.Options.PasswordsFile"),
    Mistake((*_S, "amqp", "Options", "URL"), "http://x", "Events.Sources.amqp.Options.URL"),
    Mistake((*_S, "stanzas", "SecretFile"), "none", "Events.Sources.stanzas.SecretFile"),
    Mistake((*_S, "hooked", "Path"), GONE, "Events.Sources.hooked.Path", ((*_S, "hooked", "Kind"),)),
    Mistake(
        (*_S, "stanzas", "Routes", 1, "Queue"), "rest", "Events.Sources.stanzas.Routes[1].Queue", (("RestQueue",),)
    ),
    Mistake(("Events", "Listen"), "127.0.0.1:8090", "Events.Listen", (("HealthBind",),)),
    Mistake(
        ("Roster", "Target"),
        "mongoose",
        "Roster.Target",
        (("Targets", "mongoose", "Kind"),),
    ),
    Mistake(("Tokens", "app", "Secret"), GONE, "Tokens.app.Secret"),
    Mistake(("StatsPass",), GONE, "StatsPass"),
    Mistake(("RestPass",), GONE, "RestPass", (("RestUser",),)),
    Mistake(("RestURL",), "ftp://x", "RestURL"),
    Mistake(("RedisMaster",), "m", "RedisMaster"),
]
"""What has the right shape, and is wrong all the same."""
MORE_SHAPES = [
    Mistake((*_T, "Bad"), {"Kind": "ejabberd", "URL": "http://h", "Queues": ["bad"]}, "Targets.Bad"),
    Mistake(("Backoff", "Factor"), 0, "Backoff.Factor"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config")


def shapes(document: Mapping[str, Json]) -> list[Mistake]:
    return [*wrong_types(Config, document, ()), *MORE_SHAPES]


def test_document_to_be_broken_is_whole(folder: Path) -> None:
    assert problems(whole(folder), folder) == []
    assert {*KINDS} == {target["Kind"] for target in whole(folder)["Targets"].values()}  # type: ignore[union-attr, index, call-overload]


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.nightly)])
def test_each_mistake_alone_is_reported_at_its_place(folder: Path, step: int) -> None:
    """By day each fourth one, with all that `JUDGED` has."""
    document = whole(folder)
    found = {
        mistake.reported_at: places(problems(changed(document, [mistake]), folder))
        for mistake in [*shapes(document)[::step], *JUDGED]
    }
    assert {place: reported for place, reported in found.items() if reported != [place]} == {}
    assert len(found) > 300 / step


@given(st.data())
@settings(suppress_health_check=list(HealthCheck), deadline=None)
def test_all_shapes_are_reported_at_once_else_all_meanings(folder: Path, data: st.DataObject) -> None:
    document = whole(folder)
    wrong_shapes, chosen = shapes(document), list[Mistake]()
    drawn = data.draw(st.lists(st.sampled_from(wrong_shapes), max_size=20))
    for mistake in [*drawn, *data.draw(st.lists(st.sampled_from(JUDGED), min_size=2, max_size=20))]:
        if all(_apart(mistake, other) for other in chosen):
            chosen.append(mistake)
    judged = [mistake for mistake in chosen if mistake in wrong_shapes] or chosen
    assert places(problems(changed(document, chosen), folder)) == sorted(mistake.reported_at for mistake in judged)


def _apart(one: Mistake, other: Mistake) -> bool:
    return not any(
        mine[: len(theirs)] == theirs or theirs[: len(mine)] == mine for mine in one.touched for theirs in other.touched
    )
