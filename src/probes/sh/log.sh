# New lines of the log $1. $2 a pattern that must appear and $3 one that must not, extended regular expressions or nothing;
# $4, $5 and $6 are the inode, the offset and the trace of the last probe, or nothing. Reads at most $7 bytes.
#
# An inode proves nothing: a new file may get the number of an old one, and a log that was copied and emptied keeps its own. So
# the place has a trace: "CHECKSUM INODE SIZE CHECKSUM LAST". The first checksum is that of the bytes before the offset; the next
# three describe the newest rotated file of that time; LAST is the inode of the log before this one, to which its service may
# still write.
log=$1 appears=$2 never=$3 inode=$4 offset=$5 trace=$6 limit=$7
nl='
'
case $log in /*) ;; *) log=./$log ;; esac
if [ ! -e "$log" ]; then can_look_up "$log"; say missing; say done; exit 0; fi
[ ! -d "$log" ] || give_up "$log is a directory; try: the path of one log in it"
[ -f "$log" ] || give_up "$log is no regular file, so it keeps no lines; try: the file that the service writes to"
[ -r "$log" ] || give_up "the login may not read $log; try: its group (adm), or a check with \`run\` and sudo"
log=$(readlink -f -- "$log" 2>/dev/null || printf '%s\n' "$log")
if stat -L -c %i "$log" >/dev/null 2>&1; then about() { stat -L -c '%i %s %Y' "$1" 2>/dev/null; }
else about() { stat -L -f '%i %z %m' "$1" 2>/dev/null; }; fi
all=$(about "$log") || give_up "stat fails for $log"
# shellcheck disable=SC2086
set -- $all
say age $(($(date +%s) - $3))
now=$1 size=$2 from=0 dir=${log%/*} base=${log##*/}

# --- the content of one file, compressed or not --------------------------------------------------------------------

compressed() { case $1 in *.gz|*.Z|*.bz2|*.xz|*.zst) ;; *) return 1 ;; esac; }
content() {
  case $1 in
    *.gz|*.Z) gzip -dc <"$1" ;;
    *.bz2) bzip2 -dc <"$1" ;;
    *.xz) xz -dc <"$1" ;;
    *.zst) zstd -dcq <"$1" ;;
    *) cat <"$1" ;;
  esac 2>/dev/null
}
# The bytes of file $1 behind $2. A file that is renamed at this moment gives none; the end of this script notices.
behind() {
  if compressed "$1"; then content "$1" | tail -c +$(($2 + 1)); else tail -c +$(($2 + 1)) "$1" 2>/dev/null; fi
}
size_of() {
  if compressed "$1"; then content "$1" | wc -c | tr -d ' '; else about "$1" | cut -d ' ' -f 2; fi
}
inode_of() { about "$1" | cut -d ' ' -f 1; }
# The checksum of up to 1024 bytes of file $1 before offset $2; it has their number, too. Nothing at the beginning of a file.
sum_before() {
  [ "$2" -gt 0 ] || return 0
  near=1024
  [ "$2" -ge "$near" ] || near=$2
  behind "$1" $(($2 - near)) | head -c "$near" | cksum | tr ' ' -
}

# --- rotated files ---------------------------------------------------------------------------------------------

# The names of rotated files of this log, the newest first: app.log.1, app.log-20261127.gz, app.1.log; where the name of the
# log itself has a date, all names that differ in digits alone.
export base
rotated() {
  # shellcheck disable=SC2012
  ls -1t "$dir" 2>/dev/null | awk '
    function shape(name) { gsub(/[0-9]+/, "0", name); return name }
    BEGIN {
      base = ENVIRON["base"]; stem = base; end = ""
      if (match(base, /\.[A-Za-z]+$/)) { stem = substr(base, 1, RSTART - 1); end = substr(base, RSTART) }
      date = "[0-9][0-9][0-9][0-9][-._]?[0-9][0-9][-._]?[0-9][0-9]"
      # `worker-2.log` and `app-8081.log` belong to other processes: only a date follows `-`.
      number = "^([.][0-9]+|[-._]" date "[-0-9TZ:._]*|[.][-0-9TZ:._]+)$"
      dated = base ~ date
    }
    {
      name = $0
      if (name == base) next
      compressed = sub(/\.(gz|Z|bz2|xz|zst)$/, "", name)
      rest = substr(name, length(base) + 1)
      middle = substr(name, length(stem) + 1, length(name) - length(stem) - length(end))
      begins = substr(name, 1, length(base)) == base
      if (name == base || (begins && (rest ~ number || rest ~ /^[-_][0-9]+$/ || rest ~ /^\.(old|bak|prev)$/)) ||
          (end != "" && substr(name, 1, length(stem)) == stem && substr(name, length(name) - length(end) + 1) == end && middle ~ number) ||
          (dated && shape(name) == shape(base))) {
        found[++count] = $0
        bare[count] = compressed ? name : ""
        there[$0] = 1
      }
    }
    # While a file is being compressed both are there, and the compressed one is not whole.
    END { for (i = 1; i <= count; i++) if (bare[i] == "" || !(bare[i] in there)) print found[i] }' | head -n 20
}
newest=
IFS=$nl
set -f
names=$(rotated)
for name in $names; do
  [ ! -f "$dir/$name" ] || { newest=$dir/$name; break; }
done

# A new trace.
new_trace() {
  newest_inode=- newest_size=0
  if [ -n "$newest" ] && [ -r "$newest" ]; then newest_inode=$(inode_of "$newest") newest_size=$(size_of "$newest"); fi
  sum=$(sum_before "$log" "$size")
  newest_sum=
  [ "$newest_size" = 0 ] || newest_sum=$(sum_before "$newest" "$newest_size")
  printf '%s %s %s %s %s\n' "${sum:--}" "$newest_inode" "$newest_size" "${newest_sum:--}" "${last_log:--}"
}

# The trace of the last probe.
IFS=' '
# shellcheck disable=SC2086
set -- $trace
IFS=$nl
was_sum=${1:-} was_inode=${2:-} was_size=${3:-} was_newest_sum=${4:-} last_log=${5:--}
[ "$was_sum" != - ] || was_sum=
[ "$was_newest_sum" != - ] || was_newest_sum=

# True if the file $1 has, before offset $2, the bytes that have checksum $3.
has_before() { [ "$(sum_before "$1" "$2")" = "$3" ]; }
# True if $1 is the file that was the newest rotated one at the last probe; it may have grown.
was_newest() {
  if [ "$was_size" = 0 ]; then [ "$(inode_of "$1")" = "$was_inode" ]; else has_before "$1" "$was_size" "$was_newest_sum"; fi
}
# True if the log goes on where the last probe ended.
goes_on() {
  [ "$inode" = "$now" ] && [ "$offset" -le "$size" ] && { [ -z "$trace" ] || has_before "$log" "$offset" "$was_sum"; }
}
# True if $1 is the log of the last probe.
is_old() {
  if [ "$offset" -gt 0 ] && [ -n "$was_sum" ]; then has_before "$1" "$offset" "$was_sum"
  else ! compressed "$1" && [ "$(inode_of "$1")" = "$inode" ]; fi
}
# True if the log begins with all of $1: that is a copy, and the log was not emptied.
is_copy() {
  copied=$(size_of "$1")
  [ "$copied" -le "$size" ] && [ "$copied" -gt 0 ] && [ "$(sum_before "$log" "$copied")" = "$(sum_before "$1" "$copied")" ]
}

# What to read besides the log: lines "OFFSET PATH", the newest file first.
others= growth=
also() { others="$others$1 $2$nl"; }

# Sets `found` to `old` if the log of the last probe is among the rotated files, and to `boundary` if the newest one of that time is.
walk() {
  found=
  for name in $names; do
    file=$dir/$name
    [ -f "$file" ] || continue
    [ -r "$file" ] || { unreadable=$file; continue; }
    # Times of files may be those of another second: the old log can be behind the boundary.
    if [ "$found" = boundary ]; then
      if is_old "$file"; then also "$offset" "$file"; found=old; return; fi
      continue
    fi
    if [ -n "$was_inode" ] && [ "$was_inode" != - ] && was_newest "$file"; then
      # Any other file that grows is no log of this one.
      if [ "$(inode_of "$file")" = "$last_log" ] && [ "$(size_of "$file")" -gt "$was_size" ]; then growth="$was_size $file$nl"; fi
      found=boundary
      [ -z "$continues" ] || return
      continue
    fi
    if is_old "$file"; then
      if [ -n "$continues" ] && is_copy "$file"; then continue; fi
      also "$offset" "$file"
      found=old
      return
    fi
    also 0 "$file"
  done
  # There was none: all of these are new.
  [ "$was_inode" != - ] || found=boundary
}

# A rotated file with a name that says nothing: by its inode.
by_inode() {
  # shellcheck disable=SC2010
  for name in $(ls -1Ai "$dir" 2>/dev/null | sed -n "s/^ *$inode //p"); do
    file=$dir/$name
    [ -f "$file" ] && [ -r "$file" ] && [ "$file" != "$log" ] && is_old "$file" || continue
    others=
    also "$offset" "$file"
    found=old
    return
  done
}

# The next probe reads an incomplete last line.
if [ "$size" -gt 0 ] && [ -n "$(behind "$log" $((size - 1)) | head -c 1 | tr -d '\n')" ]; then
  near=0
  [ "$size" -le 65536 ] || near=$((size - 65536))
  size=$((size - $(behind "$log" "$near" | head -c $((size - near)) | tail -n 1 | wc -c)))
fi
skipped=
if [ -z "$inode" ]; then
  [ "$size" -le "$limit" ] || from=$((size - limit))
else
  continues= unreadable=
  if goes_on; then continues=1 from=$offset; fi
  same_newest=
  if [ -z "$newest" ]; then [ -n "$was_inode" ] && [ "$was_inode" != - ] || same_newest=1
  elif [ "$(inode_of "$newest") $(about "$newest" | cut -d ' ' -f 2)" = "$was_inode $was_size" ]; then same_newest=1; fi
  # A store of an earlier build has no trace.
  [ -n "$trace" ] || [ -z "$continues" ] || same_newest=1
  if [ -z "$continues" ] || [ -z "$same_newest" ]; then
    walk
    case $found$continues in
      old|old1) from=0 ;;
      # The log is as it was; other files of its name came or grew.
      boundary1) [ "$offset" -eq 0 ] || others= ;;
      1) others= ;;
      boundary) [ "$offset" -eq 0 ] && [ -n "$others" ] || by_inode ;;
      *) by_inode ;;
    esac
    if [ -z "$continues" ] && [ "$found" != old ] && { [ "$offset" -gt 0 ] || [ "$found" != boundary ] || [ -z "$others" ]; }; then
      others=
      if [ -n "$unreadable" ]; then skipped="the login may not read $unreadable"
      else skipped="it was emptied or replaced, and $dir has no older file with them under a usual name"; fi
    fi
  fi
fi

[ -z "$inode" ] || [ "$inode" = "$now" ] || last_log=$inode

# --- reading ---------------------------------------------------------------------------------------------------

unset IFS
set +f

oldest_first() { printf '%s' "$others$growth" | awk '{ line[NR] = $0 } END { for (i = NR; i > 0; i--) print line[i] }'; }
everything() {
  # A service that was killed may have left a line without its end.
  oldest_first | while IFS= read -r line; do behind "${line#* }" "${line%% *}" | tr -d '\000' | awk '{ print }'; done
  behind "$log" "$from" | head -c $((size - from))
}
moved() { give_up "$log was rotated while it was read; the next probe reads it from the same place"; }
expect_log_in_place() {
  # shellcheck disable=SC2046
  set -- $(about "$log")
  [ "${1:-}" = "$now" ] && [ "${2:-0}" -ge "$size" ] || moved
}
# shellcheck disable=SC2046
set -- $(everything | wc -lc)
lines=$1 total=$2
if [ "$total" -lt $((size - from)) ]; then
  expect_log_in_place
  give_up "of $((size - from)) new bytes of $log only $total could be read; try: tail -c +$((from + 1)) $log"
fi
if [ "$total" -gt "$limit" ]; then
  skipped="more than $limit bytes were written"
  fresh() { everything | tail -c "$limit" | tr -d '\000'; }
  lines=$(fresh | wc -l | tr -d ' ')
else
  fresh() { everything | tr -d '\000'; }
fi
[ -z "$skipped" ] || say skipped "$skipped"
matching() { fresh | grep -E -c -e "$1"; [ $? -lt 2 ]; }
say lines "$lines"
if [ -n "$appears" ]; then
  count=$(matching "$appears") || give_up "grep does not take the pattern $appears"
  say appears "$count"
fi
if [ -n "$never" ]; then
  count=$(matching "$never") || give_up "grep does not take the pattern $never"
  say never "$count"
  [ "$count" = 0 ] || fresh | grep -E -e "$never" | head -n 5 | cut -c 1-300 | sed 's/^/rollcall never_line /'
fi
trace=$(new_trace)
expect_log_in_place
# One of the rotated files may have been compressed between two of the readings.
[ -z "$others$growth" ] || [ "$(rotated)" = "$names" ] || moved
say place "$now" "$size" "$trace"
say done
