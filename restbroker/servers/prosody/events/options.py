"""The options that a source of kind `prosody-rest` takes beyond those of every source: none."""

import attrs


@attrs.frozen(kw_only=True)
class Options:
    """What is written under `Options`."""
