digest "$RELEASE"
ask_by_command
printf '\nship=1\n%s\nend=done\n' "$answer"
