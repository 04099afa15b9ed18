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
