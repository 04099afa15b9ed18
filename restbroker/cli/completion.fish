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
