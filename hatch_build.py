"""Adds the manual pages to the wheel: hatchling calls it, as pyproject.toml says.

Always holds: a wheel has the pages that the code of the same tree makes, or there is no wheel. An editable install has
none. The pages come from the command line itself, so restbroker's own dependencies must be there to build a wheel:
requirements/run.lock beside requirements/build.lock, or what pip installs for an isolated build.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualPages(BuildHookInterface):  # type: ignore[type-arg]  # of the configuration of a builder
    """Write the pages to a temporary folder for as long as the build lasts."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Have each page installed into share/man; raise RuntimeError if the pages cannot be made."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        try:
            from dev.tools import man_pages
        except ImportError as error:
            raise RuntimeError(
                f"The wheel's manual pages cannot be made: {error}. They come from the command line, so the build "
                "needs restbroker's dependencies: pip install --require-hashes -r requirements/run.lock"
            ) from error
        self._folder = tempfile.TemporaryDirectory(prefix="restbroker-man-")
        man_pages.write(Path(self._folder.name))
        build_data["shared_data"][self._folder.name] = "share/man"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the temporary folder."""
        if version != "editable":
            self._folder.cleanup()
