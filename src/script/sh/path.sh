# Whether the service's directory is safe: what lies below it runs as root, or as the login user, so nobody else may be
# able to replace any part of the path to it.

# What only the scripts need: whoever can read a file can lock it.
private='lock epoch tmp armed migrations gates'

# Fails where somebody else could, with the reason in "unsafe". What others can read and need not is in "exposed".
is_safe() {
    unsafe= exposed= me=
    while [ -z "$me" ] && read -r key value rest; do
        [ "$key" != Uid: ] || me=$value
    done </proc/self/status
    trusted=" 0 $me ${SUDO_UID-} "
    find_components "$ROOT" || return 1
    for part in slots "slots/${PORT-}" releases $private; do
        [ ! -e "$ROOT/$part" ] || components=$components$NL$ROOT/$part
    done
    set -f
    IFS=$NL
    rows=$(ls -ldn -- / $components 2>&1) || unsafe="ls: $rows"
    for row in $rows; do
        IFS=$BLANKS
        [ -n "$unsafe" ] || judge_component $row
    done
    IFS=$BLANKS
    set +f
    [ -z "$unsafe" ]
}

# Refuses a directory that is not safe, and makes private what others can read and need not.
refuse_unsafe() {
    is_safe || fail "$unsafe"
    [ -n "$exposed" ] || return 0
    for part in $private; do
        [ ! -e "$ROOT/$part" ] || chmod go= "$ROOT/$part" 2>/dev/null
    done
}

# Every directory on the way to $1 that exists, in "components", a line each: both each symbolic link and where it leads.
find_components() {
    components= prefix= way=$1 links=0
    while :; do
        way=${way#"${way%%[!/]*}"}
        [ -n "$way" ] || return 0
        part=${way%%/*}
        way=${way#"$part"}
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
            way=$target$way
            case $target in
                /*) prefix= ;;
            esac
        else
            prefix=$place
        fi
    done
}

# One of them, as "ls -ldn" prints it: $1 is its mode, $3 its owner, $4 its group.
judge_component() {
    case $trusted in
        *" $3 "*) ;;
        *)
            blame "belongs to user $(name_user "$3")" "$row"
            return
            ;;
    esac
    case $1 in
        # Who may write to a link's directory matters, and whom the link belongs to. In a directory with the sticky bit only
        # the owner replaces what is there.
        l* | d????????[tT]*) ;;
        ????????w*) blame "can be written to by every user" "$row" ;;
        ?????w*) [ "$4" = 0 ] || is_private_group "$4" || blame "can be written to by group $4" "$row" ;;
    esac
    case $1 in
        ????------*) return ;;
    esac
    case " $private " in
        *" ${row##*" $ROOT/"} "*) exposed=yes ;;
    esac
}

# Says what is wrong with the path in row $2: it $1.
blame() {
    IFS=$NL
    for place in / $components; do
        case $2 in
            *" $place" | *" $place -> "*) break ;;
        esac
    done
    IFS=$BLANKS
    unsafe="$ROOT is not safe: $place $1, who could replace what ship runs from there"
    unsafe="$unsafe; give it to root and make it writable for nobody else, or set another base_dir"
}

# Whether nobody but those who are trusted is in group $1, as in the group that many systems give each user.
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

# The first directory on the way to $1 that user $2 cannot enter, in "barred"; none where that cannot be tried. A user
# that is not there yet has the rights of everybody.
find_barred() {
    barred=
    [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null 2>&1 && find_components "$1" || return 1
    if uid=$(id -u "$2" 2>/dev/null); then
        set -- "--reuid=$uid" "--regid=$(id -g "$2")" --init-groups
    else
        set -- --reuid=65534 --regid=65534 --clear-groups
    fi
    set -f
    IFS=$NL
    barred=$(setpriv "$@" -- sh -c 'for dir; do cd "$dir" 2>/dev/null || { printf %s "$dir"; exit; }; done' sh $components 2>/dev/null)
    IFS=$BLANKS
    set +f
    [ -n "$barred" ]
}

name_user() {
    id -un "$1" 2>/dev/null || printf '%s' "$1"
}
