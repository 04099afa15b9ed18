"""`restbroker completion`: the script that makes a shell call restbroker at the Tab key.

A script calls it as Typer's own do (`_RESTBROKER_COMPLETE` and the line so far), takes one candidate from each line of
the answer (zsh and fish: a tab in front of a description), and shows nothing of stderr. Always holds: the shell
executes nothing of the answer.

Typer's scripts end an argument's name with a blank, split `user=b` in bash, and make zsh evaluate the answer.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from restbroker.console import output
from restbroker.console.options import argument

app = typer.Typer(add_completion=False)

# Of the scripts, `completion.bash`, `.zsh` and `.fish` beside this file: the program is asked as it was typed,
# but for a ~ that the shell has not replaced yet. A candidate that ends with a star stands for names of files
# (`console.completion.paths`); they are offered there only, and behind `>` and `<`.
# In bash, of COMP_CWORD's words Typer takes the one that is typed: -1 is the last, and one behind the end is an empty
# word. bash replaces only what stands behind a `=` or `:` ($2): what is in front of it goes from each candidate.
# In zsh and fish, COLUMNS: Typer breaks descriptions to the terminal's width. It takes a blank at the end for the end
# of a word, also between quotes.


@app.command()
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], argument("bash|zsh|fish", "Which shell.")],
) -> None:
    """Print the script that completes commands, options and names at the Tab key, for a shell to load.

    bash: add to ~/.bashrc the line: source <(restbroker completion bash). zsh: the same with zsh in ~/.zshrc, after
    compinit. fish: write it to ~/.config/fish/completions/restbroker.fish.
    """
    output.pieces([Path(__file__).with_suffix(f".{shell}").read_text("utf-8")])
