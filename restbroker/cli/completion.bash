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
