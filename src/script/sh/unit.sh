# Begins a change of units. A script that died before systemd read its units has left a note.
begin_units() {
    changed=
    [ ! -e "$ROOT/unread" ] || changed=yes
}

# Whether an administrator has forbidden unit $1: as systemctl mask does, or with an empty file.
is_masked() {
    for dir in "$UNIT_DIR" /run/systemd/system; do
        [ ! -c "$dir/$1" ] || return 0
        [ ! -f "$dir/$1" ] || [ -s "$dir/$1" ] || return 0
    done
    return 1
}

# Writes a unit, unless it is there as it should be. "changed" says how systemd learns of it: it finds a new file by
# itself ("added"), but must be told to read another file again ("yes").
write_unit() {
    file=$UNIT_DIR/$1 how=added
    ! is_masked "$1" || fail "the unit $1 is masked on this host; systemctl unmask $1 allows it"
    if [ -f "$file" ]; then
        [ "$(cat "$file")" != "$2" ] || return 0
        how=yes
    fi
    said=$({ : >"$ROOT/unread" && printf '%s\n' "$2" >"$file.new" && mv -f "$file.new" "$file"; } 2>&1) ||
        fail "the unit $file could not be installed: $said"
    [ "$changed" = yes ] || changed=$how
}

# Makes systemd read the units again if it does not know them as they are now. $@ are all that may have changed: a
# daemon-reload takes long, and systemd reads a unit that was not loaded before from its file.
read_units() {
    [ -n "$changed" ] || return 0
    if [ "$changed" = yes ] || ! knows_units "$@"; then
        said=$(systemctl daemon-reload 2>&1) || fail "systemctl daemon-reload: $said"
    fi
    rm -f "$ROOT/unread"
}

# Whether systemd has loaded each of these units from the file that is there now. One may be loaded from a template, or
# from a file that was deleted since.
knows_units() {
    [ $# -gt 0 ] || return 1
    shown=$(systemctl show -p FragmentPath -p NeedDaemonReload "$@" 2>/dev/null) || return 1
    for unit; do
        case $NL$shown$NL in
            *"${NL}NeedDaemonReload=yes$NL"*) return 1 ;;
            *"${NL}FragmentPath=$UNIT_DIR/$unit$NL"*) ;;
            *) return 1 ;;
        esac
    done
}
