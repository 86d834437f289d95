# Probes an instance with a command of its release, in its environment and as its user. The process
# of the instance is "PROBE_PID". Sets "answer" to lines with the first line of output and the exit
# status.
run_probe_command() {
    set --
    if [ -n "$RUN_AS" ] && [ "$RUN_AS" != "$(id -un)" ] && [ "$(id -u)" = 0 ]; then
        set -- "$(command -v setpriv)" "--reuid=$RUN_AS" "--regid=$(id -g "$RUN_AS")" --init-groups --
    fi
    answer=$({ run_command "$@" 2>&1 | first_line >&3; } 3>&1)
}

run_command() {
    env -i "PATH=$SERVICE_PATH" timeout -k 1 "$TIMEOUT_S" sh -c "$RUN" "${PROBE_PID:-0}" "$@" </dev/null 3>&-
    printf 'exit=%s\n' "$?" >&3
}

first_line() {
    IFS= read -r line
    printf 'line=%s\n' "$line"
    cat >/dev/null
}
