"""Pictures for docs/images: made small, and refused where they are too large. Used by `screenshots` and `pictures`."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
_LIMIT_BYTES: Final = 150 * 1024


def finish(picture: Path) -> None:
    """Makes a picture of a browser small enough for the docs, or ends the program with why it cannot be."""
    # The texture of a background makes pictures in full colour three times as large.
    run("pngquant", "64", "--force", "--output", str(picture), str(picture))
    size = picture.stat().st_size
    sys.stdout.write(f"docs/images/{picture.name}: {size} bytes\n")
    if size > _LIMIT_BYTES:
        sys.exit(f"docs/images/{picture.name} is larger than {_LIMIT_BYTES} bytes.")


def run(program: str, *arguments: str) -> None:
    if shutil.which(program) is None:
        sys.exit(f"{program} is not installed; install it: sudo apt-get install {program}")
    subprocess.run([program, *arguments], check=True, capture_output=True, timeout=60)
