# New lines of the log $1. $2 a pattern that must appear and $3 one that must not, extended regular expressions or nothing;
# $4 and $5 inode and offset at which the last probe ended, or nothing. Reads at most $6 bytes.
log=$1 appears=$2 never=$3 inode=$4 offset=$5 limit=$6
case $log in /*) ;; *) log=./$log ;; esac
if [ ! -e "$log" ]; then can_look_up "$log"; say missing; say done; exit 0; fi
[ -r "$log" ] || give_up "the login may not read $log; try: its group (adm), or a check with \`run\` and sudo"
if all=$(stat -L -c '%i %s %Y' "$log" 2>/dev/null); then :
elif all=$(stat -L -f '%i %z %m' "$log" 2>/dev/null); then :
else give_up "stat fails for $log"
fi
# shellcheck disable=SC2086
set -- $all
say age $(($(date +%s) - $3))
now=$1 size=$2 from=0 old=
# The next probe reads an incomplete last line.
if [ "$size" -gt 0 ] && [ -n "$(tail -c +"$size" "$log" | head -c 1 | tr -d '\n')" ]; then
  near=1
  [ "$size" -le 65536 ] || near=$((size - 65535))
  size=$((size - $(tail -c +"$near" "$log" | head -c $((size - near + 1)) | tail -n 1 | wc -c)))
fi
if [ -z "$inode" ]; then
  [ "$size" -le "$limit" ] || from=$((size - limit))
elif [ "$inode" = "$now" ] && [ "$offset" -le "$size" ]; then
  from=$offset
elif [ "$inode" != "$now" ] && [ -r "$log.1" ] && [ "$(stat -L -c %i "$log.1" 2>/dev/null || stat -L -f %i "$log.1" 2>/dev/null)" = "$inode" ]; then
  # The log was rotated: read the end of the old file first.
  old=$log.1
elif [ "$inode" != "$now" ]; then
  # Rotated to an unknown name: the unread end of the old file is skipped.
  say skipped
fi
if [ $((size - from)) -gt "$limit" ]; then from=$((size - limit)); say skipped; fi
fresh() {
  [ -z "$old" ] || tail -c +$((offset + 1)) "$old" | head -c "$limit"
  tail -c +$((from + 1)) "$log" | head -c $((size - from))
}
matching() { fresh | grep -E -c -e "$1"; [ $? -lt 2 ]; }
say lines "$(fresh | wc -l | tr -d ' ')"
if [ -n "$appears" ]; then
  count=$(matching "$appears") || give_up "grep does not take the pattern $appears"
  say appears "$count"
fi
if [ -n "$never" ]; then
  count=$(matching "$never") || give_up "grep does not take the pattern $never"
  say never "$count"
  [ "$count" = 0 ] || fresh | grep -E -e "$never" | head -n 5 | cut -c 1-300 | sed 's/^/rollcall never_line /'
fi
say place "$now" "$size"
say done
