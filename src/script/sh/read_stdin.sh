# Moves the next $1 lines of the input to the private file $2; $3 is the format of the last line. Reads exactly these
# lines and leaves the rest of the input. No line becomes an argument of a program.
read_lines() {
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
