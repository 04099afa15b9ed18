"""`python -m benchmarks.page`: writes the figures of results.json into docs/appendix/performance.md.

Everything between `<!-- figures: NAME -->` and `<!-- end -->` is written anew; the text around it stays.
"""

import re
from typing import Final

from benchmarks.figures import ROOT, Results
from benchmarks.tables import PARTS

PAGE: Final = ROOT / "docs" / "appendix" / "performance.md"
PART: Final = re.compile(r"(<!-- figures: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Fills the page."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(filled(text, Results.read()), encoding="utf-8")


def filled(text: str, results: Results) -> str:
    """The page with these figures; what a part needs and nobody measured, it names."""
    return PART.sub(lambda found: f"{found[1]}{_part(found[2], results)}\n{found[4]}", text)


def _part(name: str, results: Results) -> str:
    write = PARTS[name]
    try:
        return write(results)
    except KeyError as missing:
        return f"Not measured: {missing}."


if __name__ == "__main__":
    main()
