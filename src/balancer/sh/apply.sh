# Puts the texts on standard input in the place of configuration files, tests them, reloads, and waits.
#
# $1 test, $2 reload (empty: nginx's, with the main configuration that has the files), $3 workers (empty: those of the
# master that was reloaded), $4 seconds to wait for old workers, $5 seconds to wait for a new one, $6 `main` if the
# first file is a main configuration, else `part`; then for each file its path, the SHA-256 of what was read, the
# SHA-256 of its new text and the size of that in bytes. The last line says `done`, `waiting`, `conflict`,
# `refused TEXT` or `unproven`. The copies that are kept start with a dot: nginx's `include dir/*` does not read them.
# The paths of system programs are missing for many logins. COLUMNS would cut the lines of ps.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
unset COLUMNS
test=$1 reload=$2 workers=$3 wait=$4 proof=$5 kind=$6; shift 6
sum() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1; }
# The names around the file $1.
at() {
  config=$(readlink -f -- "$1")
  dir=${config%/*} name=${config##*/}
  tmp=$dir/.$name.rollcall-new.$$ bak=$dir/.$name.rollcall-bak
}
at "$1"; first=$config input=$dir/.$name.rollcall-in.$$ lock=$dir/.$name.rollcall-lock
clean() { rm -f "$input"; while [ $# -gt 0 ]; do at "$1"; rm -f "$tmp"; shift 4; done; }
pause() { sleep 0.1 2>/dev/null || sleep 1; }
# Mode, links, owner and group.
shape() { ls -ln -- "$1" | awk '{ print $1, $2, $3, $4 }'; }
# A rename replaces a file at once. A file with other names, or of an owner that a copy cannot have, is written over.
replace() { if [ "$(shape "$1")" = "$(shape "$2")" ]; then mv -f "$1" "$2"; else cat "$1" >"$2" && rm -f "$1"; fi; }
# Each of these is called with all files.
say() { printf 'refused %s\n' "$(printf '%s' "$1" | tr '\n' ' ')"; exit 0; }
stage() {
  offset=1
  while [ $# -gt 0 ]; do
    at "$1"
    cp -p "$config" "$tmp" && tail -c "+$offset" "$input" | head -c "$4" >"$tmp" || { why="cannot write $tmp"; return 1; }
    [ "$(sum <"$tmp")" = "$3" ] || { why="the new text did not arrive whole"; return 1; }
    offset=$((offset + $4)); shift 4
  done
}
# Fails when a file is no longer what was read.
keep() {
  while [ $# -gt 0 ]; do
    at "$1"
    [ "$(sum <"$config")" = "$2" ] || return 1
    cp -p "$config" "$bak" || { why="cannot write $bak"; return 1; }
    [ "$(sum <"$bak")" = "$2" ] || return 1
    shift 4
  done
}
place() { while [ $# -gt 0 ]; do at "$1"; replace "$tmp" "$config" || { why="cannot replace $config"; return 1; }; shift 4; done; }
restore() { while [ $# -gt 0 ]; do at "$1"; cp -p "$bak" "$tmp" && replace "$tmp" "$config" || return 1; shift 4; done; }
# The old files are back, and nginx has not read the new ones.
abort() { why=$1; shift; restore "$@" || { echo unproven; exit 0; }; say "$why"; }
# `$dump`, what nginx reads, has every one of the files as it is now.
reads() {
  while [ $# -gt 0 ]; do
    at "$1"
    printf '%s\n' "$dump" | LC_ALL=C awk '
      NR == FNR { want[++lines] = $0; next }
      /^# configuration file .*:$/ { next_line = 1; next }
      next_line { if ($0 "" == want[next_line] "") next_line++; else next_line = 0 }
      next_line > lines { found = 1; exit }
      END { exit !found }' "$config" - || return 1
    shift 4
  done
}

# The test command with another option instead of -t: -T prints the configuration, -V the defaults of the program.
variant() { printf '%s\n' "$test" | sed "s/\(.*[[:space:]]\)-t\([[:space:]qc].*\)*\$/\1$1\2/"; }
has_variants() { [ "$(variant -T)" != "$test" ]; }
quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }
# The command that tests the main configuration that has the files. Titles of processes are not asked: anybody can
# make them up, and this may run as root.
discover() {
  tested=
  for program in nginx angie openresty tengine; do
    command -v "$program" >/dev/null || continue
    test="$program -t"
    [ "$kind" = part ] || test="$test -c $(quoted "$first")"
    : "${tested:=$test}"
    dump=$(eval "$(variant -T)" 2>/dev/null 9>&-) && reads "$@" && return
  done
  test=${tested:-nginx -t}
}
# The pid file of the configuration that was tested; empty if it is not known. Only a master process is believed.
pid_file() {
  case " $test $reload " in
    # Another machine, or other files: a pid file here is that of another nginx.
    *[[:space:]/]docker\ *|*[[:space:]/]podman\ *|*[[:space:]/]nerdctl\ *|*[[:space:]/]kubectl\ *|*chroot\ *|*nsenter\ *|*lxc*|*incus\ *|*machinectl\ *|*jexec\ *|*ssh\ *) return ;;
  esac
  has_variants || return
  file=$(printf '%s\n' "$test" "$dump" |
    sed -n "s/^\(.*[;'\"]\)\{0,1\}[[:space:]]*pid[[:space:]]\{1,\}[\"']\{0,1\}\([^;\"'[:space:]]\{1,\}\)[\"']\{0,1\}[[:space:]]*;.*/\2/p" |
    grep -v '^[0-9]*$' | head -n 1)
  built=$(eval "$(variant -V)" 2>&1 9>&-)
  [ -n "$file" ] || file=$(printf '%s\n' "$built" | sed -n 's/.*--pid-path=\([^[:space:]]*\).*/\1/p')
  prefix=$(printf '%s\n' "$test" | sed -n "s/.*[[:space:]]-p[[:space:]]*[\"']\{0,1\}\([^\"'[:space:]]*\).*/\1/p")
  [ -n "$prefix" ] || prefix=$(printf '%s\n' "$built" | sed -n 's/.*--prefix=\([^[:space:]]*\).*/\1/p')
  case $file in /*) echo "$file" ;; *) echo "${prefix:-/usr/local/nginx}/${file:-logs/nginx.pid}" ;; esac
}
# `PID PARENT TITLE` of all processes. Small systems have no ps that knows these words.
all() {
  ps -A -o pid= -o ppid= -o args= 2>/dev/null || for one in /proc/[0-9]*; do
    title=$(tr '\0' ' ' <"$one/cmdline") parent=$(sed -n 's/^PPid:[[:space:]]*//p' "$one/status")
    printf '%s %s %s\n' "${one#/proc/}" "$parent" "$title"
  done 2>/dev/null
}
# `PID PARENT KIND` of the processes of every nginx, angie and openresty. A worker that gets no new requests is `leaving`.
processes() {
  all | awk '$3 !~ /^[a-z]+:$/ || $5 != "process" { next }
    $4 == "master" { print $1, $2, "master" }
    $4 == "worker" { print $1, $2, ($6 $7 $8 == "isshuttingdown" ? "leaving" : "worker") }'
}
masters() { printf '%s\n' "$now" | sed -n 's/ .* master$//p'; }
# The master, now: a reload that is a restart changes it. Empty while there is none.
master_now() {
  if [ -n "$pidfile" ]; then
    pid=; { read -r pid <"$pidfile"; } 2>/dev/null
    masters | grep -x "${pid%%[!0-9]*}"
  elif masters | grep -qx "${master:-none}"; then echo "$master"
  elif [ "$(masters | wc -l)" -eq 1 ]; then masters
  fi
}
# Finds the master before the reload; an error in `why`.
find_master() {
  now=$(processes) pidfile=$(pid_file)
  master=$(master_now)
  [ -z "$master" ] && [ -n "$pidfile" ] && unread=" ($pidfile does not name it)" pidfile= && master=$(master_now)
  if [ -n "$master" ]; then
    # Its parent is another master while the program is exchanged (USR2); that one does not reload.
    parent=$(printf '%s\n' "$now" | awk -v master="$master" '$1 == master { print $2 }')
    masters | grep -qx "$parent" || parent=
    [ -n "$parent" ] && printf '%s\n' "$now" | grep -q " $parent worker\$" || return 0
    why="the program of nginx is being exchanged: the workers of its old master $parent take requests, too, and would not read the new file; try: end that, for example kill -QUIT $parent"
    return 1
  fi
  if [ -z "$(masters)" ]; then
    why="no running nginx can be seen here$unread; try: start it, sudo = true, or \`workers\`, a command that prints its workers"
  else
    why="$(masters | wc -l | tr -d ' ') nginx run here, and it is not known which of them reads the file$unread; try: \`workers\`, a command that prints the workers of the right one"
  fi
  return 1
}
# Sets `before`; `fresh`, the new workers; `held`, old ones that take new requests still; `left`, old ones.
# One word a line, so that lines can be compared whatever spaces they hold.
list() { listed=$(eval "$workers" 9>&-) || return 1; printf '%s\n' "$listed" | sed 's/^[[:space:]]*//; s/[[:space:]]*$//; s/[[:space:]][[:space:]]*/_/g'; }
begin() { if [ -n "$workers" ]; then before=$(list); else before=$(printf '%s\n' "$now" | awk -v master="$master" -v old="$parent" '($2 == master || $2 == old) && $3 != "master" { print $1 }'); fi; }
observe() {
  if [ -n "$workers" ]; then
    # A command that failed has shown nothing: old workers may be there still.
    now=$(list) || { fresh=; return; }
    held=
    left=$(for one in $before; do printf '%s\n' "$now" | grep -xF -- "$one"; done)
    fresh=$(for one in $now; do printf '%s\n' "$before" | grep -qxF -- "$one" || echo "$one"; done)
    return
  fi
  now=$(processes)
  seen=$(printf '%s\n' "$now" | awk -v known=" $(printf '%s' "$before" | tr '\n' ' ') " -v master="$(master_now)" '
    $3 == "master" { next }
    index(known, " " $1 " ") { print "left"; if ($3 == "worker") print "held"; next }
    $2 == master && $3 == "worker" { print "fresh" }')
  fresh= held= left=
  case $seen in *fresh*) fresh=yes ;; esac
  case $seen in *held*) held=yes ;; esac
  case $seen in *left*) left=yes ;; esac
}

# Another edit of this file, by whomever, ends before this one begins; the system frees the lock.
# It is tried in a shell of its own first: a redirection that fails would end this one without a word.
if command -v flock >/dev/null; then
  ( : >>"$lock" ) 2>/dev/null || say "cannot write $lock"
  exec 9>>"$lock"; flock 9
fi
( umask 077; cat >"$input" ) || say "cannot write $input"
stage "$@" || { clean "$@"; say "$why"; }
why=
keep "$@" || { clean "$@"; [ -z "$why" ] || say "$why"; echo conflict; exit 0; }
rm -f "$input"
place "$@" || abort "$why" "$@"
[ -n "$test" ] || discover "$@"
[ -n "$reload" ] || { if has_variants; then reload=$(variant '-s reload'); else reload="nginx -s reload"; fi; }
said=$(eval "$test" 2>&1 9>&-); tested=$?
if [ "$tested" != 0 ]; then
  restore "$@" || { echo unproven; exit 0; }
  [ "$tested" != 127 ] || say "the test command cannot be run: $said"
  if eval "$test" >/dev/null 2>&1; then say "the edited file is not valid, the old one is back: $said"
  else say "$first was broken before rollcall came: $said"; fi
fi
dump=; ! has_variants || dump=$(eval "$(variant -T)" 2>/dev/null 9>&-)
case $dump in
  *'# configuration file '*) reads "$@" || abort "nginx does not read this file, the old one is back: \`$(variant -T)\` does not print its text; try: \`config\`, a file that it prints, or \`test\` with the right main configuration" "$@" ;;
esac
[ -n "$workers" ] || find_master || abort "$why" "$@"
begin || abort "\`workers\` fails, so no reload could be proven; the old file is back: $workers" "$@"
# True if a new worker comes within two seconds.
acted() {
  limit=$(($(date +%s) + 2))
  while observe; [ -z "$fresh" ]; do [ "$(date +%s)" -lt "$limit" ] || return 1; pause; done
}
if ! said=$(eval "$reload" 2>&1 9>&-); then
  # A command of several parts may have reloaded and failed afterwards.
  if acted; then restore "$@"; echo unproven; exit 0; fi
  abort "it would not reload, the old file is back: $said" "$@"
fi
limit=$(($(date +%s) + proof))
while observe; [ -z "$fresh" ] || [ -n "$held" ]; do
  [ "$(date +%s)" -lt "$limit" ] || { echo unproven; exit 0; }; pause
done
limit=$(($(date +%s) + wait))
while [ -n "$left" ]; do
  [ "$(date +%s)" -lt "$limit" ] || { echo waiting; exit 0; }; pause; observe
done
echo done
