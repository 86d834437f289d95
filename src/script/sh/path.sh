# Checks that the service's directory is safe: its content runs as root, or as the login user, so no other user may be
# able to replace any part of the path.

# Files that only the scripts need. They are private, because every user who can read a file can lock it.
private='lock epoch tmp armed migrations gates'

# Fails if another user could replace a part, with the reason in "unsafe". Sets "exposed" if private files are readable
# by others, and "rows" to what distinguishes each component.
is_safe() {
    unsafe= exposed= me= rows=
    while [ -z "$me" ] && read -r key value rest; do
        [ "$key" != Uid: ] || me=$value
    done </proc/self/status
    trusted=" 0 $me ${SUDO_UID-} "
    find_components "$ROOT" || return 1
    for part in slots "slots/${NUMBER-}" releases $private; do
        [ ! -e "$ROOT/$part" ] || components=$components$NL$ROOT/$part
    done
    set -f
    IFS=$NL
    rows=$(stat -c '%A %d:%i %u %g %n' -- / $components 2>&1) || unsafe="stat: $rows"
    for row in $rows; do
        IFS=$BLANKS
        [ -n "$unsafe" ] || check_component $row
    done
    IFS=$BLANKS
    set +f
    [ -z "$unsafe" ]
}

# Rejects an unsafe directory, and makes private files private.
reject_unsafe() {
    is_safe || fail "$unsafe"
    [ -n "$exposed" ] || return 0
    for part in $private; do
        [ ! -e "$ROOT/$part" ] || chmod go= "$ROOT/$part" 2>/dev/null
    done
}

# Every existing component of the path $1, in "components", one per line: each symbolic link, and its target.
find_components() {
    components= prefix= remaining=$1 links=0
    while :; do
        remaining=${remaining#"${remaining%%[!/]*}"}
        [ -n "$remaining" ] || return 0
        part=${remaining%%/*}
        remaining=${remaining#"$part"}
        case $part in
            .) continue ;;
            ..)
                prefix=${prefix%/*}
                continue
                ;;
        esac
        place=$prefix/$part
        [ -e "$place" ] || [ -L "$place" ] || return 0
        components=$components$NL$place
        if [ -L "$place" ]; then
            links=$((links + 1))
            target=$(readlink "$place")
            if [ "$links" -gt 40 ] || [ -z "$target" ]; then
                unsafe="$place is a symbolic link that leads nowhere"
                return 1
            fi
            remaining=$target$remaining
            case $target in
                /*) prefix= ;;
            esac
        else
            prefix=$place
        fi
    done
}

# Checks one component, a row as words: $1 is its mode, $3 its owner, $4 its group.
check_component() {
    case $trusted in
        *" $3 "*) ;;
        *)
            set_unsafe "belongs to user $(name_user "$3")" "$row"
            return
            ;;
    esac
    case $1 in
        # The mode of a link does not matter: its owner and its directory do. In a directory with the sticky bit, only
        # the owner of a file can replace it.
        l* | d????????[tT]*) ;;
        ????????w*) set_unsafe "is writable by every user" "$row" ;;
        ?????w*) [ "$4" = 0 ] || is_private_group "$4" || set_unsafe "is writable by group $4" "$row" ;;
    esac
    case $1 in
        ????------*) return ;;
    esac
    case " $private " in
        *" ${row##*" $ROOT/"} "*) exposed=yes ;;
    esac
}

# Sets "unsafe" to the problem $1 of the path in row $2.
set_unsafe() {
    IFS=$NL
    for place in / $components; do
        case $2 in
            *" $place") break ;;
        esac
    done
    IFS=$BLANKS
    unsafe="$ROOT is not safe: $place $1, who could replace the files that ship runs"
    unsafe="$unsafe; make it writable only by root, or set another base_dir"
}

# Whether all members of group $1 are trusted, as in the private group that many systems create for each user.
is_private_group() {
    named=
    while IFS=: read -r name x uid gid rest; do
        [ "$gid" = "$1" ] || continue
        case $trusted in
            *" $uid "*) named="$named $name " ;;
            *) return 1 ;;
        esac
    done </etc/passwd
    while IFS=: read -r name x gid users; do
        [ "$gid" = "$1" ] || continue
        IFS=,
        for name in $users; do
            case "$named root " in
                *" $name "*) ;;
                *)
                    IFS=$BLANKS
                    return 1
                    ;;
            esac
        done
        IFS=$BLANKS
        return 0
    done </etc/group
    return 1
}

# The first component of the path $1 that user $2 cannot enter, in "inaccessible"; empty if that cannot be tested. A
# user that does not exist yet has only the permissions of others.
find_inaccessible() {
    inaccessible=
    [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null 2>&1 && find_components "$1" || return 1
    if uid=$(id -u "$2" 2>/dev/null); then
        set -- "--reuid=$uid" "--regid=$(id -g "$2")" --init-groups
    else
        set -- --reuid=65534 --regid=65534 --clear-groups
    fi
    set -f
    IFS=$NL
    inaccessible=$(setpriv "$@" -- sh -c 'for dir; do cd "$dir" 2>/dev/null || { printf %s "$dir"; exit; }; done' sh $components 2>/dev/null)
    IFS=$BLANKS
    set +f
    [ -n "$inaccessible" ]
}

name_user() {
    id -un "$1" 2>/dev/null || printf '%s' "$1"
}
