# Waits until ship is gone, however that came about, and clears away what it has left of directory $1: logins under
# way, masters with whatever still runs on them, and the directory itself. What a host has begun, it ends by itself.
trap '' HUP INT QUIT TERM
# Only ship can write there, and it never does.
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
rm -rf -- "$1"
