# Waits until ship has ended, for whatever reason, then removes what it left in directory $1: logins in progress, ssh
# masters with everything that runs through them, forwarded sockets of the user's own masters, and the directory itself.
# Processes on the hosts end on their own. Masters that are kept for the next command have no link in the directory.
trap '' HUP INT QUIT TERM
# Only ship holds the other end, and it never writes.
read -r nothing
for file in "$1"/*/login; do
    [ -f "$file" ] && read -r group <"$file" && kill -KILL "-$group"
done
count=0
for socket in "$1"/*/m; do
    [ -S "$socket" ] || continue
    timeout 10 ssh -F none -O exit -S "$socket" -- nobody &
    count=$((count + 1))
    [ $((count % 16)) != 0 ] || wait
done
wait
for link in "$1"/*/m; do
    [ -L "$link" ] && file=$(readlink "$link") && rm -f -- "$file" "$file.log"
done
for file in "$1"/*/forwards; do
    [ -f "$file" ] || continue
    while read -r forward; do
        timeout 10 ssh -F none -O cancel -L "$forward" -S "${file%forwards}user" -- nobody </dev/null
    done <"$file"
done
rm -rf -- "$1"
