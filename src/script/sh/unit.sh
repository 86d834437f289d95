# Begins a change of units. "unread" exists if an earlier script was interrupted before systemd had reloaded them.
begin_units() {
    changed=
    [ ! -e "$ROOT/unread" ] || changed=yes
}

# Whether an administrator has masked unit $1, with systemctl mask or an empty file.
is_masked() {
    for dir in "$UNIT_DIR" /run/systemd/system; do
        [ ! -c "$dir/$1" ] || return 0
        [ ! -f "$dir/$1" ] || [ -s "$dir/$1" ] || return 0
    done
    return 1
}

# Lets systemd verify the unit in file $1. Sets "complaint" to its first complaint about the unit itself, with the line
# that it is about; empty if there is none.
verify_unit() {
    complaint=
    command -v systemd-analyze >/dev/null 2>&1 || return 0
    name=${1##*/}
    shown=$(timeout 10 systemd-analyze verify --man=no "$1" 2>&1 9>&-)
    set -f
    IFS=$NL
    for line in $shown; do
        case $line in
            *"$name:"[0-9]*)
                line=${line#*"$name:"}
                complaint="\`$(sed -n "${line%%:*}p" "$1")\`, from [systemd] in the playbook:${line#*:}"
                break
                ;;
        esac
    done
    IFS=$BLANKS
    set +f
}

# Writes a unit, if it differs. Sets "changed" to "added" for a new file, which systemd finds on its own, or to "yes"
# for a changed file, which systemd must reload.
write_unit() {
    file=$UNIT_DIR/$1 result=added
    ! is_masked "$1" || fail "the unit $1 is masked on this host; unmask it with \`systemctl unmask $1\`"
    if [ -f "$file" ]; then
        [ "$(cat "$file")" != "$2" ] || return 0
        result=yes
    fi
    output=$({ : >"$ROOT/unread" && printf '%s\n' "$2" >"$file.new" && mv -f "$file.new" "$file"; } 2>&1) ||
        fail "cannot install the unit $file: $output"
    [ "$changed" = yes ] || changed=$result
}

# Makes systemd reload the units if it does not have their current version. $@ are all units that may have changed. The
# check avoids a daemon-reload, which takes long: systemd reads a unit that it has not loaded yet from its file.
read_units() {
    [ -n "$changed" ] || return 0
    if [ "$changed" = yes ] || ! knows_units "$@"; then
        output=$(systemctl daemon-reload 2>&1) || fail "systemctl daemon-reload: $output"
    fi
    rm -f "$ROOT/unread"
}

# Whether systemd has loaded each of these units from its current file. A unit may be loaded from a template, or from a
# file that was deleted later.
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
