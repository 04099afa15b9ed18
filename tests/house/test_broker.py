"""The broker's agents own their state: few lines write into another object, and no import leads in a circle."""

from tools import broker_shape


def test_agents_of_the_broker_seldom_write_into_each_other() -> None:
    assert len(broker_shape.writes()) <= 15


def test_no_modules_of_the_broker_import_each_other_in_a_circle() -> None:
    assert broker_shape.circles() == []
