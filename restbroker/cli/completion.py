"""`restbroker completion`: the script that makes a shell call restbroker at the Tab key.

A script calls it as Typer's own do (`_RESTBROKER_COMPLETE` and the line so far), takes one candidate from each line of
the answer (zsh and fish: a tab in front of a description), and shows nothing of stderr. Always holds: the shell
executes nothing of the answer.

Typer's scripts end an argument's name with a blank, split `user=b` in bash, and make zsh evaluate the answer.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import typer

from restbroker.console import output
from restbroker.console.options import argument

app = typer.Typer(add_completion=False)

# The program is asked as it was typed, but for a ~ that the shell has not replaced yet. A candidate that ends with a
# star stands for names of files (`console.completion.paths`); they are offered there only, and behind `>` and `<`.
# Of COMP_CWORD's words Typer takes the one that is typed: -1 is the last, and one behind the end is an empty word.
# bash replaces only what stands behind a `=` or `:` ($2): what is in front of it goes from each candidate.
_BASH: Final = r"""
_restbroker_completion() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}" at=-1 program="${1/#'~/'/$HOME/}"
    [[ $line == *[[:blank:]] && -z $2 ]] && at=9999
    local word="${line##*[[:blank:]]}"
    [[ $word == --*=* ]] && word="${word#*=}"
    [[ $3 == *[\<\>] ]] && compopt -o default && return
    mapfile -t COMPREPLY < <(env _RESTBROKER_COMPLETE=complete_bash COMP_WORDS="$line" COMP_CWORD=$at "$program" \
        2>/dev/null)
    [[ -n ${COMPREPLY[*]} ]] || COMPREPLY=()
    [[ ${COMPREPLY[0]} == *\* ]] && COMPREPLY=() && compopt -o default
    COMPREPLY=("${COMPREPLY[@]#"${word%"$2"}"}")
    [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *[=@/] ]] && compopt -o nospace
    return 0
}

complete -F _restbroker_completion restbroker
"""
# COLUMNS: Typer breaks descriptions to the terminal's width. It takes a blank at the end for the end of a word, also
# between quotes.
_ZSH: Final = r"""
#compdef restbroker

_restbroker_completion() {
    local line word front=
    local -a open closed
    [[ $PREFIX == --*=* ]] && front="${PREFIX%%=*}="
    for line in "${(@f)$(env COLUMNS=9999 _RESTBROKER_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS="${(j: :)words[1,CURRENT-1]} $QIPREFIX${PREFIX%% #}" ${words[1]/#\~\//$HOME/} \
        2>/dev/null)}"; do
        [[ -n $line ]] || continue
        word=${line%%$'\t'*}
        line=${front}${word//:/\\:}${${line#$word}/#$'\t'/:}
        case $word in
            *\*) [[ -n $front ]] && compset -P '*='; _files; return ;;
            *[=@/]) open+=("$line") ;;
            *) closed+=("$line") ;;
        esac
    done
    (( $#open + $#closed )) || return 1
    (( $#closed )) && _describe -V restbroker closed
    (( $#open )) && _describe -V restbroker open -S ''
}

compdef _restbroker_completion restbroker
if [[ $funcstack[1] == _restbroker ]]; then
    _restbroker_completion "$@"
fi
"""
_FISH: Final = r"""
function __restbroker_completion
    set -l word (commandline -ct)
    set -l front (string match --regex -- '^--[^=]+=' "$word")
    set -l line (commandline -cp | string collect)
    test -n "$word" && set line (string trim --right -- $line)
    set -l offers (env COLUMNS=9999 _RESTBROKER_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS=$line (string replace --regex '^~/' $HOME/ -- (commandline -opc)[1]) 2>/dev/null \
        | string match --regex '.+')
    if string match --quiet -- '*\*' $offers[1]
        set offers (complete --do-complete "'' "(string replace -- "$front" '' "$word"))
    end
    test (count $offers) -gt 0 && printf '%s\n' "$front"$offers
end

complete --command restbroker --no-files --arguments '(__restbroker_completion)'
"""
_SCRIPTS: Final[Mapping[str, str]] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


@app.command()
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], argument("bash|zsh|fish", "Which shell.")],
) -> None:
    """Print the script that completes commands, options and names at the Tab key, for a shell to load.

    bash: add to ~/.bashrc the line: source <(restbroker completion bash). zsh: the same with zsh in ~/.zshrc, after
    compinit. fish: write it to ~/.config/fish/completions/restbroker.fish.
    """
    output.data(_SCRIPTS[shell].strip("\n"))
