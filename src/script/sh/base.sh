# What every script begins with. Nothing is printed before the end: a lost connection must not stop an act half-way.
umask 022
LC_ALL=C
export LC_ALL
PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin
BLANKS=$IFS
NL='
'
litter= fresh= found= heard= free= check= hooked= only_port= identity= elsewhere_ports=
naps=0

# The time since the host's start, which no one sets: "up" as text in seconds, "cs" as a number in 1/100 s.
clock() {
    read -r up idle </proc/uptime
    cs=$((${up%.*} * 100 + 1${up#*.} - 100))
}

# Sleeps: short at first, so that what is quick is seen quickly.
nap() {
    naps=$((naps + 1))
    case $naps in
        1) pause=0.01 ;;
        [2-5]) pause=0.02 ;;
        [6-9]) pause=0.05 ;;
        1?) pause=0.1 ;;
        *) pause=0.2 ;;
    esac
    sleep $pause 2>/dev/null || sleep 1
}

# Whether one of these programs is there.
has_one_of() {
    for tool; do
        ! command -v "$tool" >/dev/null 2>&1 || return 0
    done
    return 1
}

# Makes one line of $1, in "flat".
flatten() {
    set -f
    IFS=$NL
    set -- $1
    IFS=' '
    flat="$*"
    IFS=$BLANKS
    set +f
}

# Prints what is on the host now and how the script ended, as its last line, and ends it.
finish() {
    [ -z "$litter" ] || rm -rf -- "$litter"
    if [ -n "$fresh" ] || look; then
        report
    else
        flatten "$unseen"
        out="${NL}ship=1${NL}unseen=$flat$NL"
    fi
    flatten "$2"
    printf '%send=%s\n' "$out" "$1${flat:+ $flat}"
    case $1 in
        done) exit 0 ;;
        fenced) exit 11 ;;
        busy) exit 12 ;;
        late) exit 13 ;;
        *) exit 10 ;;
    esac
}

# Whether the disk is full: not every tool's message says that it failed for want of space.
is_full() {
    free_now=
    for free_now in $(df -Pk "$ROOT" 2>/dev/null); do
        case $free_now in
            *%) break ;;
            *[!0-9]*) ;;
            *) available=$free_now ;;
        esac
    done
    [ -n "$free_now" ] && [ "${available:-1000}" -lt 64 ]
}

fail() {
    case $1 in
        *space*) ;;
        *) ! is_full || set -- "$1; no space is left below $ROOT" ;;
    esac
    finish failed "$1"
}

# Refuses what is not the name of a release before it becomes part of a path.
digest() {
    case $1 in
        *[!0-9a-f]*) fail "not a release: $1" ;;
    esac
    [ ${#1} -eq 64 ] || fail "not a release: $1"
}
