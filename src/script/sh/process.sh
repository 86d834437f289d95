# Inspects processes. Reads only.

# Reads a process's state, session and start time in ticks; fails if it does not exist. Its name may contain blanks and
# parentheses.
inspect() {
    case $1 in
        '' | *[!0-9]*) return 1 ;;
    esac
    { IFS= read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${line##*) }
    state=$1 session=$4 ticks=${20}
}

# Whether process $1 does not exist, or is a zombie.
has_exited() {
    ! inspect "$1" || [ "$state" = Z ]
}
