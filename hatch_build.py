"""Adds to the wheel its manual pages, README, and the project's addresses: hatchling calls it, as pyproject.toml says.

Always holds: a wheel has the pages that the code of the same tree makes, or there is no wheel. An editable install has
no manual pages. These come from the command line itself, so a build needs restbroker's own dependencies:
requirements/run.lock beside requirements/build.lock, or what pip installs for an isolated build.
"""

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")


class Addresses(MetadataHookInterface):
    """Give the README and, where pyproject.toml has the repository's address as `home`, what leads there."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set `readme` and `urls`: with a home, links and pictures lead to the files of this version's tag there."""
        text = (Path(self.root) / "README.md").read_text("utf-8")
        urls = {}
        if home := self.config["home"]:
            tag = f"v{metadata['version']}"
            pages = {"Documentation": "README.md", "Changelog": "CHANGELOG.md"}
            urls = {"Homepage": home, "Issues": f"{home}/issues"}
            urls |= {name: f"{home}/blob/{tag}/{page}" for name, page in pages.items()}
            text = _LINK.sub(lambda link: f"]({home}/{_shown_as(link[1])}/{tag}/{link[1]})", text)
        metadata["urls"] = urls
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def _shown_as(path: str) -> str:
    """Return how the repository's site shows a file: a picture as it is, anything else on a page."""
    return "raw" if path.endswith((".png", ".svg")) else "blob"


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
