# Restarts this host once for each operation, and reports the progress. Arguments: start or ask; the site; the operation; a
# script that prints the boot id; a script that restarts the host; the boot id before the restart, if known. The last line
# of output is:
#
#   never    the restart was not started, and never will be
#   waits    the restart was started, and the boot id is still the same
#   failed   the restart command failed; the lines before say why
#   done     the boot id has changed
verb=$1 site=$2 op=$3 boot_id=$4 command=$5 known=$6

say() { echo "$1"; exit 0; }
waits() { printf '%s\n' "$now"; say waits; }

find_place || give_up "no directory to record the boot id: $why"
mark=$place/$op.boot
now=$(sh -c "$boot_id" </dev/null) || give_up "\`boot_id\` failed: it has to print a value that changes at each boot, such as cat /proc/sys/kernel/random/boot_id"
[ -n "$now" ] || give_up "\`boot_id\` prints nothing: it has to print a value that changes at each boot, such as cat /proc/sys/kernel/random/boot_id"
[ -z "$known" ] || [ "$now" = "$known" ] || say done

# Only one process creates the mark. If the mark exists, no other process starts the restart.
printf '%s\n' "$now" >"$mark.$$" || give_up "no directory to record the boot id"
[ "$verb" = start ] || echo never >"$mark.$$"
if ln "$mark.$$" "$mark" 2>/dev/null; then first=1; else first=; fi
rm -f "$mark.$$"
was=$(cat "$mark") || give_up "its mark of the boot before cannot be read"
[ "$was" != never ] || say never
# A boot id that rollcall knows is more reliable than a file that any step can write.
[ -n "$known" ] || [ "$now" = "$was" ] || say done
if [ -z "$first" ]; then
  [ ! -e "$mark.failed" ] || { echo "$(cat "$mark.failed"): $(tail -n 1 "$mark.said")"; say failed; }
  waits
fi
# Delete marks of old runs.
find "$place/." -name . -o -type d -prune -o -name '*.boot*' -mtime +7 -exec rm -f {} + 2>/dev/null

# Apart from the connection, which must close before the host goes down.
restart='sleep 1; sh -c "$1" >"$2.said" 2>&1 </dev/null || echo "exit status $?" >"$2.failed"'
if command -v setsid >/dev/null 2>&1; then
  theirs setsid sh -c "$restart" sh "$command" "$mark" </dev/null >/dev/null 2>&1 &
else
  (trap '' HUP; theirs sh -c "$restart" sh "$command" "$mark") </dev/null >/dev/null 2>&1 &
fi
waits
