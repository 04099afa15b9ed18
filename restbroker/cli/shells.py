"""What a shell runs at the Tab key, in place of Typer's scripts: `--install-completion` and `--show-completion`.

Put in place by `cli.app`. Always holds: a script asks `restbroker` with the line up to the cursor in
`_RESTBROKER_LINE`, takes one candidate from each line of its answer (a tab in front of a description), and shows
nothing of what it writes to stderr.

Typer's scripts end an argument's name with a blank, take `user=b` apart in bash, and have zsh evaluate an answer.
"""

from collections.abc import Mapping
from typing import Final

VARIABLE: Final = "_RESTBROKER_COMPLETE"
LINE: Final = "_RESTBROKER_LINE"
WORD: Final = "_RESTBROKER_WORD"
"""The part of the last word that bash replaces: behind a `=` or `:` only what follows it."""

_BASH: Final = r"""
_restbroker_completion() {
    local IFS=$'\n'
    mapfile -t COMPREPLY < <(_RESTBROKER_COMPLETE=line_bash _RESTBROKER_LINE="${COMP_LINE:0:COMP_POINT}" \
        _RESTBROKER_WORD="$2" "$1" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *[=@/] ]] && compopt -o nospace
    return 0
}

complete -o default -F _restbroker_completion restbroker
"""
_ZSH: Final = r"""
#compdef restbroker

_restbroker_completion() {
    local line
    local -a open closed
    for line in "${(@f)$(_RESTBROKER_COMPLETE=line_zsh _RESTBROKER_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" \
        ${words[1]} 2>/dev/null)}"; do
        case $line in
            '') ;;
            *[=@/] | *[=@/]:[^:]*) open+=("$line") ;;
            *) closed+=("$line") ;;
        esac
    done
    (( $#open + $#closed )) || { _files; return }
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
    set -l said (env _RESTBROKER_COMPLETE=line_fish _RESTBROKER_LINE=(commandline -cp | string collect) \
        (commandline -opc)[1] 2>/dev/null)
    if test (count $said) -gt 0
        printf '%s\n' $said
    else
        __fish_complete_path (commandline -ct)
    end
end

complete --command restbroker --no-files --arguments '(__restbroker_completion)'
"""
SCRIPTS: Final[Mapping[str, str]] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
