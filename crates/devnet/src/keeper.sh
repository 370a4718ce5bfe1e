# Keeps one part (a server process and its folder) alive for exactly as long as somebody holds the write end of our
# standard input. That pipe breaks however its holder ends, kill -9 included, and we run in a process group of our own,
# so that what ends the holder from a terminal does not end us first.
#
#   arguments              the part's command; it runs inside the folder, its output goes to the file `log` there
#   KEEPER_TEMPLATE        where the folder is made, in mktemp's notation
#   KEEPER_SETUP           shell text to run in the folder before the part
#   KEEPER_SIGNALS         what ends the part, gentlest first; KILL follows by itself
#   KEEPER_GRACE_SECONDS   how long the part has after each signal
#
# We read one line, `go`, before anything is run, and another, `again`, for every time that the part is to be run once more
# after it has exited. We write: `folder PATH`, `running PID` or `setup STATUS`,
# `exited STATUS`, and last `removed` or `left PATH`.
set -u
umask 077
# PIPE: the reader of what we write may be dead, and that is when we are needed most.
trap '' HUP INT TERM PIPE
exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
exec 3<&0 </dev/null 2>&1

wait_until_released() {
    while read -r _ <&3; do :; done
}

# Servers that were killed take a moment to stop writing, so removing may take more than one try.
leave() {
    cd /
    tries=10
    until rm -rf "$folder"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || break
        sleep 1
    done
    if [ -e "$folder" ]; then echo "left $folder"; else echo "removed"; fi
    # The group is this shell and its own helpers (the ender, a sleep): none of them is needed any more.
    kill -s KILL -- "-$$"
}

end_part_when_released() {
    wait_until_released
    for signal in $KEEPER_SIGNALS KILL; do
        kill -s "$signal" "$part"
        sleep "$KEEPER_GRACE_SECONDS"
    done
}

folder=$(mktemp -d "$KEEPER_TEMPLATE") || exit 1
cd "$folder" || exit 1
HOME=$folder
export HOME
echo "folder $folder"

read -r _ <&3 || leave
( eval "$KEEPER_SETUP" ) >log 2>&1 3<&- || {
    echo "setup $?"
    wait_until_released
    leave
}

while :; do
    ( trap - HUP INT TERM PIPE && exec "$@" ) >>log 2>&1 3<&- &
    part=$!
    end_part_when_released >/dev/null 2>&1 &
    ender=$!
    echo "running $part"
    wait "$part"
    status=$?
    # Both read the same pipe: whoever is heard to say `exited` is the only one left to read an `again`.
    kill -s KILL "$ender"
    wait "$ender"
    echo "exited $status"
    read -r _ <&3 || leave
done
