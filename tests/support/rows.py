"""A table as one test: every row is tried, and each that fails is named."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import attrs
import pytest

Test = TypeVar("Test", bound=Callable[..., Any])


@attrs.define
class Walk:
    """What failed so far."""

    wrong: list[str] = attrs.field(factory=list)
    first: BaseException | None = None

    @contextmanager
    def row(self, row: object) -> Iterator[None]:
        try:
            yield
        except (Exception, pytest.fail.Exception) as failure:  # noqa: BLE001 - whatever it is, the row is wrong
            self.wrong.append(f"{ascii(row)[:300]}: {type(failure).__name__}: {failure}")
            self.first = self.first or failure

    def end(self) -> None:
        """Fails if any row did."""
        if self.wrong:
            raise AssertionError("\n".join([f"{len(self.wrong)} rows are wrong:", *self.wrong])) from self.first


def rows(names: str | tuple[str, ...], table: Iterable[Any]) -> Callable[[Test], Test]:
    """As `pytest.mark.parametrize`, for rows that need no set-up of their own: all have the same fixtures."""
    called = (names,) if isinstance(names, str) else names
    found = [dict(zip(called, (row,) if isinstance(names, str) else row, strict=True)) for row in table]

    def walking(test: Test) -> Test:
        @functools.wraps(test)
        def walk_all(**fixtures: object) -> None:
            walk = Walk()
            for row in found:
                with walk.row(row):
                    test(**fixtures, **row)
            walk.end()

        @functools.wraps(test)
        async def walk_async(**fixtures: object) -> None:
            walk = Walk()
            for row in found:
                with walk.row(row):
                    await test(**fixtures, **row)
            walk.end()

        walk: Any = walk_async if inspect.iscoroutinefunction(test) else walk_all
        signature = inspect.signature(test)
        parameters = [parameter for name, parameter in signature.parameters.items() if name not in called]
        walk.__signature__ = signature.replace(parameters=parameters)
        return cast("Test", walk)

    return walking
