# Restarts this host, once for each operation, and says how far that is. Called with: start or ask; the site; the
# operation; a script that prints which boot this is; one that restarts the host; which boot it was, once that is known. What it prints at the end:
#
#   never    it was not begun, and never will be
#   waits    it was told to restart, and is still the same boot
#   failed   it was told so, and the command said no; the lines before say why
#   done     it is another boot
verb=$1 site=$2 op=$3 boot_id=$4 command=$5 known=$6

say() { echo "$1"; exit 0; }
waits() { printf '%s\n' "$now"; say waits; }

find_place || give_up "no place to keep which boot this is: $why"
mark=$place/$op.boot
now=$(sh -c "$boot_id" </dev/null) || give_up "\`boot_id\` failed: it has to print what is another with each boot, such as cat /proc/sys/kernel/random/boot_id"
[ -n "$now" ] || give_up "\`boot_id\` prints nothing: it has to print what is another with each boot, such as cat /proc/sys/kernel/random/boot_id"
[ -z "$known" ] || [ "$now" = "$known" ] || say done

# One of all that try makes the mark. That there is one is the proof that nobody else begins.
printf '%s\n' "$now" >"$mark.$$" || give_up "no place to keep which boot this is"
[ "$verb" = start ] || echo never >"$mark.$$"
if ln "$mark.$$" "$mark" 2>/dev/null; then first=1; else first=; fi
rm -f "$mark.$$"
was=$(cat "$mark") || give_up "its mark of the boot before cannot be read"
[ "$was" != never ] || say never
# A boot that rollcall knows says more than a file that any step can write.
[ -n "$known" ] || [ "$now" = "$was" ] || say done
if [ -z "$first" ]; then
  [ ! -e "$mark.failed" ] || { echo "$(cat "$mark.failed"): $(tail -n 1 "$mark.said")"; say failed; }
  waits
fi
# Marks of old runs.
find "$place/." -name . -o -type d -prune -o -name '*.boot*' -mtime +7 -exec rm -f {} + 2>/dev/null

# Apart from the connection, which is to end before the host does.
restart='sleep 1; sh -c "$1" >"$2.said" 2>&1 </dev/null || echo "exit status $?" >"$2.failed"'
if command -v setsid >/dev/null 2>&1; then
  setsid sh -c "$restart" sh "$command" "$mark" </dev/null >/dev/null 2>&1 &
else
  (trap '' HUP; exec sh -c "$restart" sh "$command" "$mark") </dev/null >/dev/null 2>&1 &
fi
waits
