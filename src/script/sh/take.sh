# Moves the next $1 lines of the input to file $2, which nobody else may read; $3 is how the last one is written.
# Exactly these lines: what follows on the input is left there. Nothing of it becomes an argument of any program.
take() {
    left=$1
    umask 077
    while [ "$left" -gt 0 ] && IFS= read -r line; do
        if [ "$left" -eq 1 ]; then
            printf "$3" "$line" || break
        else
            printf '%s\n' "$line" || break
        fi
        left=$((left - 1))
    done >"$2" || left=-1
    umask 022
    [ "$left" -eq 0 ]
}
