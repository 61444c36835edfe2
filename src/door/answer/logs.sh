# Prints lines of a log. $1: journal or file; $2: the unit or the path; $3: the last lines; $4: only those of so many
# seconds; $5: only those with this text; $6: follow. Empty is none. Standard input stays open for as long as the lines
# are for somebody.
kind=$1 what=$2 lines=$3 since=$4 text=$5 follow=$6
exec 3<&0 5>&1

# Runs a command until it ends, or standard input does: nothing stays here when rollcall or its connection is gone. A shell
# may lose a TERM that comes before its read or its exec, and none of these has anything to put in order.
watched() {
  "$@" </dev/null 3<&- 4>&- 5>&- &
  pid=$!
  { while IFS= read -r _; do :; done; kill -KILL "$pid"; } <&3 >/dev/null 2>&1 4>&- 5>&- &
  watcher=$!
  wait "$pid"
  ended=$?
  { kill -KILL "$watcher"; wait "$watcher"; } 2>/dev/null
  return "$ended"
}

# The status of each part of a search goes to descriptor 4. A search that finds nothing is an answer; one that fails is not.
searched() {
  if [ "$1" = 1 ]; then echo 0; else echo "$1"; fi >&4
}

last() {
  tail -n "$lines" 4>&-
  echo "$?" >&4
}

last_matching() {
  { grep -a -F -- "$text" 4>&-; searched "$?"; } | last
}

# Each line as soon as it is there. Not every grep can do that.
matching() {
  if echo x | grep -a -F --line-buffered x >/dev/null 2>&1 4>&-; then
    grep -a -F --line-buffered -- "$text" 4>&-
    searched "$?"
    return
  fi
  while IFS= read -r line; do
    case $line in *"$text"*) printf '%s\n' "$line" ;; esac
  done
  echo 0 >&4
}

filter=
if [ "$kind" = journal ]; then
  set -- journalctl --no-pager --no-hostname --output=short-iso --unit="$what"
  [ -z "$since" ] || set -- "$@" --since="-${since}s"
  if [ -n "$follow" ]; then
    set -- "$@" --lines="$lines" --follow
    [ -z "$text" ] || filter=matching
  elif [ -n "$text" ]; then
    filter=last_matching
  else
    set -- "$@" --lines="$lines"
  fi
else
  if [ -e "$what" ] && [ ! -f "$what" ]; then
    echo "$what is not a regular file" >&2
    exit 1
  fi
  if [ -n "$follow" ]; then
    set -- tail -n "$lines" -F -- "$what"
    [ -z "$text" ] || filter=matching
  elif [ -n "$text" ]; then
    set -- grep -a -F -- "$text" "$what"
    filter=last
  else
    set -- tail -n "$lines" -- "$what"
  fi
fi

if [ -z "$filter" ]; then
  watched "$@"
  exit
fi
produced() {
  watched "$@" 4>&-
  ended=$?
  # Here grep reads the file itself.
  if [ "$filter" = last ]; then searched "$ended"; else echo "$ended" >&4; fi
}

statuses=$({ produced "$@" | "$filter" >&5 3<&-; } 4>&1)
status=0 parts=2
[ "$filter" != last_matching ] || parts=3
for one in $statuses; do
  parts=$((parts - 1))
  # A part that loses its reader ends with SIGPIPE: the reader has the reason.
  if [ "$one" != 0 ] && { [ "$status" = 0 ] || [ "$one" != 141 ]; }; then status=$one; fi
done
# A part that has not come to its end says nothing.
[ "$parts" = 0 ] || [ "$status" != 0 ] || status=1
exit "$status"
