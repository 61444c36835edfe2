# Puts the text on standard input in the place of the configuration, tests it, reloads, and waits.
#
# $1 file, $2 SHA-256 of what was read, $3 SHA-256 of what is sent, $4 test, $5 reload, $6 workers (empty: those of the
# master that was reloaded), $7 seconds to wait for old workers, $8 seconds to wait for a new one. The last line says
# `done`, `waiting`, `conflict`, `refused TEXT` or `unproven`. The copy that is kept starts with a dot: nginx's
# `include dir/*` does not read it.
# The paths of system programs are missing for many logins. COLUMNS would cut the lines of ps.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
unset COLUMNS
config=$(readlink -f -- "$1") old=$2 new=$3 test=$4 reload=$5 workers=$6 wait=$7 proof=$8
dir=$(dirname "$config") name=$(basename "$config")
tmp=$dir/.$name.rollcall-new.$$ bak=$dir/.$name.rollcall-bak
sum() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1; }
refuse() { rm -f "$tmp"; printf 'refused %s\n' "$(printf '%s' "$1" | tr '\n' ' ')"; exit 0; }
pause() { sleep 0.1 2>/dev/null || sleep 1; }
restore() { cp -p "$bak" "$tmp" && mv -f "$tmp" "$config"; }
# The old file is back, and nginx has not read the new one.
abort() { restore || { echo unproven; exit 0; }; refuse "$1"; }

# The test command with another option instead of -t: -T prints the configuration, -V the defaults of the program.
variant() { printf '%s\n' "$test" | sed "s/\(.*[[:space:]]\)-t\([[:space:]qc].*\)*\$/\1$1\2/"; }
has_variants() { [ "$(variant -T)" != "$test" ]; }
# The pid file of the configuration that was tested; empty if it is not known. Only a master process is believed.
pid_file() {
  case " $test $reload " in
    # Another machine, or other files: a pid file here is that of another nginx.
    *[[:space:]/]docker\ *|*[[:space:]/]podman\ *|*[[:space:]/]nerdctl\ *|*[[:space:]/]kubectl\ *|*chroot\ *|*nsenter\ *|*lxc*|*incus\ *|*machinectl\ *|*jexec\ *|*ssh\ *) return ;;
  esac
  has_variants || return
  file=$({ printf '%s\n' "$test"; eval "$(variant -T)" 2>/dev/null 9>&-; } |
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
    pid=$(head -n 1 "$pidfile" 2>/dev/null | tr -cd 0-9)
    masters | grep -x "${pid:-none}"
  elif masters | grep -qx "${master:-none}"; then echo "$master"
  elif [ "$(masters | wc -l)" -eq 1 ]; then masters
  fi
}
# Finds the master before the reload; an error in `why`.
find_master() {
  now=$(processes) pidfile=$(pid_file)
  master=$(master_now)
  [ -z "$master" ] && [ -n "$pidfile" ] && unread=" ($pidfile does not name it)" pidfile= && master=$(master_now)
  [ -z "$master" ] || return 0
  if [ -z "$(masters)" ]; then
    why="no running nginx can be seen here$unread; try: start it, sudo = true, or \`workers\`, a command that prints its workers"
  else
    why="$(masters | wc -l | tr -d ' ') nginx run here, and it is not known which of them reads the file$unread; try: \`workers\`, a command that prints the workers of the right one"
  fi
  return 1
}
# Sets `before`; `fresh`, the new workers; `held`, old ones that take new requests still; `left`, old ones.
# One word a line, so that lines can be compared whatever spaces they hold.
list() { eval "$workers" | sed 's/^[[:space:]]*//; s/[[:space:]]*$//; s/[[:space:]][[:space:]]*/_/g'; }
first() { if [ -n "$workers" ]; then before=$(list); else before=$(printf '%s\n' "$now" | awk -v master="$master" '$2 == master && $3 != "master" { print $1 }'); fi; }
observe() {
  if [ -n "$workers" ]; then
    now=$(list) held=
    left=$(for one in $before; do printf '%s\n' "$now" | grep -xF -- "$one"; done)
    fresh=$(for one in $now; do printf '%s\n' "$before" | grep -qxF -- "$one" || echo "$one"; done)
    return
  fi
  now=$(processes)
  known=" $(printf '%s' "$before" | tr '\n' ' ') "
  pick() { printf '%s\n' "$now" | awk -v known="$known" -v master="$(master_now)" "$1"; }
  fresh=$(pick 'index(known, " " $1 " ") == 0 && $2 == master && $3 == "worker"')
  held=$(pick 'index(known, " " $1 " ") && $3 == "worker"')
  left=$(pick 'index(known, " " $1 " ") && $3 != "master"')
}

# Another edit of this file, by whomever, ends before this one begins; the system frees the lock.
# It is tried in a shell of its own first: a redirection that fails would end this one without a word.
lock=$dir/.$name.rollcall-lock
if command -v flock >/dev/null; then
  ( : >>"$lock" ) 2>/dev/null || refuse "cannot write $lock"
  exec 9>>"$lock"; flock 9
fi
cp -p "$config" "$tmp" && cat >"$tmp" || refuse "cannot write $tmp"
[ "$(sum <"$tmp")" = "$new" ] || refuse "the new text did not arrive whole"
[ "$(sum <"$config")" = "$old" ] || { rm -f "$tmp"; echo conflict; exit 0; }
cp -p "$config" "$bak" || refuse "cannot write $bak"
[ "$(sum <"$bak")" = "$old" ] || { rm -f "$tmp"; echo conflict; exit 0; }
mv -f "$tmp" "$config" || refuse "cannot replace $config"
said=$(eval "$test" 2>&1 9>&-); tested=$?
if [ "$tested" != 0 ]; then
  restore || { echo unproven; exit 0; }
  [ "$tested" != 127 ] || refuse "the test command cannot be run: $said"
  if eval "$test" >/dev/null 2>&1; then refuse "the edited file is not valid, the old one is back: $said"
  else refuse "$config was broken before rollcall came: $said"; fi
fi
[ -n "$workers" ] || find_master || abort "$why"
first
said=$(eval "$reload" 2>&1 9>&-) || abort "it would not reload, the old file is back: $said"
limit=$(($(date +%s) + proof))
while observe; [ -z "$fresh" ] || [ -n "$held" ]; do
  [ "$(date +%s)" -lt "$limit" ] || { echo unproven; exit 0; }; pause
done
limit=$(($(date +%s) + wait))
while [ -n "$left" ]; do
  [ "$(date +%s)" -lt "$limit" ] || { echo waiting; exit 0; }; pause; observe
done
echo done
