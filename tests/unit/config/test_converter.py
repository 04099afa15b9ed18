"""What the converter makes of JSON, and what it refuses."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Annotated

import attrs
import pytest

from restbroker.config import forms
from restbroker.config.converter import CONVERTER, read
from restbroker.config.error_collector import BadValues
from restbroker.config.form import whole
from restbroker.config.key import key
from restbroker.config.names import normalise_members
from restbroker.config.problems import Problems
from restbroker.job.json_types import Json


@attrs.frozen(kw_only=True)
class Inner:
    count: Annotated[int, whole(1, 1000)] = key("Count", "A number.", 1)
    secret: str | None = key("Secret", "A secret.", secret=True)


@attrs.frozen(kw_only=True)
class Outer:
    count: Annotated[int, whole(1, 1000)] = key("Count", "A number.", 1)
    switch: bool = key("Switch", "On or off.", False)
    wait: forms.Duration | None = key("Wait", "A duration.")
    hosts: forms.Hosts = key("Hosts", "A list.", ())
    queues: forms.Queues = key("Queues", "A list, or weights.", ())
    inner: Inner | None = key("Inner", "An object.")
    named: Annotated[Mapping[str, Inner], forms.objects_by_name("things")] = key("Named", "Objects by name.", {})


@attrs.frozen(kw_only=True)
class Bare:
    count: int = key("Count", "A number of which nobody has said how it is written.", 1)


def test_no_value_becomes_another_type_s_silently() -> None:
    """Each of these is taken by the hooks that cattrs itself has."""
    wrong: list[tuple[str, Json]] = [("Count", value) for value in (3.7, 1.0, True, "5", float("nan"), None, [1])]
    wrong += [("Hosts", "abc"), ("Hosts", {"a": 1}), ("Switch", 1), ("Switch", "true"), ("Wait", True), ("Wait", "")]
    taken = []
    for name, value in wrong:
        try:
            taken.append((name, value, CONVERTER.structure({name: value}, Outer)))
        except BadValues:
            continue
    assert taken == []


def test_every_problem_is_told_with_its_place_and_no_secret() -> None:
    review = Problems()
    document: dict[str, Json] = {
        "count": 3.7,
        "Hosts": ["example.org", 5, "a b"],
        "Queues": {"high": 0, " x": 1},
        "Inner": {"Count": True, "Secret": ["hunter2"], "Cuont": 1},
        "Named": {"e": {"Count": "5"}, "No Name": {}},
    }
    named = {"e": Inner(), "No Name": Inner()}
    assert read(Outer, normalise_members(Outer, document, "", review), review) == Outer(
        hosts=("example.org",), queues={" x": 1}, inner=Inner(), named=named
    )
    found = [problem.partition(": expected ") for problem in review.problems]
    assert [(place, what.rpartition(", found ")[2]) for place, _, what in found[1:]] == [
        ("Count", "a number (3.7)."),
        ("Hosts[1]", "a whole number (5)."),
        ("Hosts[2]", 'a string ("a b").'),
        ("Queues.high", "a whole number (0)."),
        ("Queues. x", 'a string (" x").'),
        ("Inner.Count", "true or false (true)."),
        ("Inner.Secret", "a list."),
        ("Named.e.Count", 'a string ("5").'),
        ("Named.No Name", 'a string ("No Name").'),
    ]
    assert review.problems[0] == "Inner.Cuont: is not a key of Inner; did you mean Count?"
    assert "Count: expected a whole number from 1 to 1000, found a number (3.7)." in review.problems


def test_a_type_without_a_form_is_refused_whatever_is_written() -> None:
    with pytest.raises(TypeError, match="no written form"):
        CONVERTER.structure({"Count": 1}, Bare)
    with pytest.raises(TypeError):
        CONVERTER.structure("abc", tuple[str, ...])


def test_no_kind_is_loaded_but_those_that_are_configured() -> None:
    script = (
        "import sys; from pathlib import Path; from restbroker.config.load import load;"
        "from restbroker.servers import registry; from restbroker.events import registry as sources;"
        "load(Path('env.json.sample'), {}, {}, registry.kinds(), sources.kinds());"
        "print([name for name in sys.modules if name.endswith('.options')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['restbroker.servers.ejabberd.options']"
