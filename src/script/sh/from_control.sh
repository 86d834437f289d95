SENT_BY=

prepare_sender() { :; }

# Replaces its shell, so that signals reach the program.
fetch_file() {
    exec cat <&3
}
