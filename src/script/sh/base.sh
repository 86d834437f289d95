# The beginning of every script. Nothing is printed before the end, because a lost connection must not stop an action
# halfway.
umask 022
LC_ALL=C
export LC_ALL
PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin
BLANKS=$IFS
NL='
'
scratch= fresh= found= listening= free= check= hook_report= stop_report= only_slot= only_ports= identity= elsewhere_slots= is_checked=
attempts=0

# Reads the time since the host was started, a monotonic clock: "up" as text in seconds, "cs" as a number in 1/100 s.
clock() {
    read -r up idle </proc/uptime
    cs=$((${up%.*} * 100 + 1${up#*.} - 100))
}

# Sleeps, briefly at first, so that quick changes are noticed early.
backoff() {
    attempts=$((attempts + 1))
    case $attempts in
        1) pause=0.01 ;;
        [2-5]) pause=0.02 ;;
        [6-9]) pause=0.05 ;;
        1?) pause=0.1 ;;
        *) pause=0.2 ;;
    esac
    sleep $pause 2>/dev/null || sleep 1
}

# Whether one of these programs is installed.
has_one_of() {
    for tool; do
        ! command -v "$tool" >/dev/null 2>&1 || return 0
    done
    return 1
}

# Writes file $1 with printf, whose arguments follow. If it fails, the reason is in "output". Only a repeated attempt, which
# reads the reason, needs a process.
write_file() {
    written=$1
    shift
    { printf "$@" >"$written"; } 2>/dev/null || output=$({ printf "$@" >"$written"; } 2>&1)
}

# Joins the lines of $1 to one line, in "flat".
flatten() {
    set -f
    IFS=$NL
    set -- $1
    IFS=' '
    flat="$*"
    IFS=$BLANKS
    set +f
}

# Prints the state of the host and, as the last line, the result $1 with the message $2, and exits.
finish() {
    [ -z "$scratch" ] || rm -rf -- "$scratch"
    if [ -n "$fresh" ] || observe; then
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

# Whether the disk is full. Not every tool reports a lack of space as the reason of its failure: the text is in "no_space".
is_full() {
    no_space="there is no space left below $ROOT"
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
        *) ! is_full || set -- "$1; $no_space" ;;
    esac
    finish failed "$1"
}

# Rejects anything that is not the name of a release, before it becomes part of a path.
check_digest() {
    case $1 in
        *[!0-9a-f]*) fail "not a release: $1" ;;
    esac
    [ ${#1} -eq 64 ] || fail "not a release: $1"
}
