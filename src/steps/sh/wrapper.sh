# Runs one step of a task on this host, apart from the connection that asked for it, and says how it ended:
# now, later, or to somebody else. Plain POSIX sh; its text never changes, values are arguments or come on
# stdin. Called as: sh -c 'eval "$1"' rollcall TEXT VERB OPERATION SITE EPOCH AGE LIMIT WITHIN
#
#   start    run the step whose script is on stdin, unless it was begun before; then as follow
#   follow   pass its output on, and say how it ended; what was never begun never will be
#   kill     end it: TERM, and KILL after a while; then as follow
#   confirm  let it stand that it was run (see WITHIN); then as follow
#   sweep    make the place where all this is kept, and clear it of old runs: OPERATION is the oldest to keep
#
# The first line on stdin is "NAME WORD KEY", of which `follow` and `kill` need NAME alone, and `confirm` NAME and
# WORD. They are on no command line and in no environment: a step that runs as the same login cannot find out the
# NAME of a record before it exists, nor the WORD that confirms, nor the KEY that seals.
#
# SITE names the rollcall that asks, EPOCH its term in office: a higher one was here, a lower one is refused.
# AGE is for how many seconds the operation has been under way, LIMIT how many it may take. WITHIN, if not 0,
# is how many the host waits for `confirm` before it undoes the step by itself.
#
# What is kept for each operation:
#   boot, pid    of the runner: the boot it runs in, its process id, and when that began
#   go           whoever makes it decides: the runner, that the step begins; anybody else, that it never does
#   out, err     what the step printed, the first megabyte; out.cut, err.cut: there was more
#   step.group, step.why   the process group of the step, and why it was ended, if it was; the same of `undo`
#   waiting, verdict       the step is done and waits to be confirmed; `confirmed` and WORD, or `undone`
#   rc           how it ended: the last thing that is written
#
# What the runner says in `waiting` and `rc` ends with its seal, which rollcall verifies: the step can write these
# files, too. The answer is the last line on stderr, "rollcall OPERATION ANSWER", with exit status 0.

# Unset first: what comes from the environment would go on to it.
unset name word key text

verb=$2 op=$3 site=$4 epoch=$5 age=$6 limit=$7 within=$8
# Of output that is kept, in the blocks of 512 bytes that ulimit counts.
blocks=2048
# In tenths of a second: from TERM to KILL, and until a runner that never came is given up.
grace=50 patience=100
# In seconds: for what the step leaves in its pipes, which a child in the background may hold open for ever.
drain=1
newline='
'
wake= spent=0

say() { printf 'rollcall %s %s\n' "$op" "$*" >&2; }
answer() { say "$@"; exit 0; }

# One file, made by one process only. What it says goes in at once.
take() { (set -C; printf '%s\n' "$2" >"$1") 2>/dev/null; }

find_digest() {
  for digest in sha256sum 'shasum -a 256' 'sha256 -q' 'openssl dgst -sha256 -r'; do
    command -v "${digest%% *}" >/dev/null 2>&1 && return
  done
}

# Writes $2 and its seal to file $1, in one piece, whatever the step has put there. KEY is on both sides: nothing
# can be appended to what is hashed.
seal() {
  proof=$(echo "$key $2 $key" | $digest)
  rm -rf "$dir/$1" "$dir/new"
  echo "$2 ${proof%% *}" >"$dir/new" && mv -f "$dir/new" "$dir/$1"
}

# Short at first, so that a short step is not held up; later once a second.
nap() {
  if [ "$spent" -lt 30 ] && sleep 0.1 2>/dev/null; then spent=$((spent + 1)); else sleep 1; spent=$((spent + 10)); fi
}

# Sleeps for $1 seconds; whoever ends this ends the sleep, too.
pause() {
  asleep=
  trap '[ -z "$asleep" ] || kill "$asleep" 2>/dev/null; exit' TERM
  sleep "$1" & asleep=$!
  wait "$asleep"
}

# Runs a command in a session, and so in a process group, of its own. Replaces this process.
apart() {
  command -v setsid >/dev/null 2>&1 && exec setsid "$@"
  command -v perl >/dev/null 2>&1 && exec perl -e 'use POSIX; POSIX::setsid(); exec @ARGV; exit 126' "$@"
  trap '' HUP
  exec "$@"
}

find_boot() {
  read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id || boot=$(sysctl -n kern.boottime 2>/dev/null)
}

# When process $1 began, which tells it from a later one with its number. Empty if there is none.
find_born() {
  born=
  if read -r born 2>/dev/null <"/proc/$1/stat"; then
    set -- ${born##*) }
    born=${20}
  elif [ ! -e /proc/self/stat ]; then
    born=$(ps -o lstart= -p "$1" 2>/dev/null)
  fi
}

# True while the process that the file $1 names is there. Leaves its number in $pid.
alive() {
  read -r pid since 2>/dev/null <"$1" || return 1
  find_born "$pid"
  [ -n "$born" ] && [ "$born" = "$since" ]
}

# The group of process $2; where groups cannot be made, the process.
signal() { kill -s "$1" -- "-$2" 2>/dev/null || kill -s "$1" "$2" 2>/dev/null; }

# --- the place: see find_place in place.sh, which stands before this ------------------------------------------

# Refuses whoever is no longer in office.
check_epoch() {
  read -r highest 2>/dev/null <"$place/epoch" || highest=0
  [ "$epoch" -ge "$highest" ] || answer stale "$highest"
  [ "$epoch" -eq "$highest" ] || why=$({ echo "$epoch" >"$place/epoch.$$" && mv -f "$place/epoch.$$" "$place/epoch"; } 2>&1)
}

enter() {
  find_place && check_epoch || answer refused "no place for its state: $why"
  dir=$place/ops/$op.$name
}

# --- the runner: apart from every connection -----------------------------------------------------------------

# Keeps what comes on stdin in file $1: the first megabyte of it. The rest is read, so that nobody waits.
keep() {
  trap '' XFSZ
  ulimit -f "$blocks"
  cat >>"$dir/$1" 2>/dev/null || { true >"$dir/$1.cut"; cat >/dev/null; }
  echo >&4
}

# Signals the group of $leader, which may be gone, and its number somebody else's.
signal_leader() {
  find_born "$leader"
  [ "$born" != "$leader_born" ] || signal "$1" "$leader"
}

# Ends the group of $leader when its time is up.
watch() {
  pause "$limit"
  take "$dir/$part.why" timeout
  signal_leader TERM
  pause $((grace / 10))
  signal_leader KILL
}

# What was ended leaves nobody behind: those that TERM did not end have as long as their leader had.
bury() {
  spent=0
  while kill -0 -- "-$leader" 2>/dev/null && [ "$spent" -lt "$grace" ]; do nap; done
  kill -s KILL -- "-$leader" 2>/dev/null
}

# Runs $ROLLCALL_STEP to its end; its exit status is in $code. $1 is `step` or `undo`.
work() {
  part=$1
  # Opened for both ways first: neither end waits for the other. Each then has one way only, and so an end.
  exec 4<>"$dir/pipe" 5<>"$dir/pipe.out" 6<>"$dir/pipe.err"
  (exec <"$dir/pipe.out" 5<&- 6<&- 9>&-; keep out) &
  (exec <"$dir/pipe.err" 5<&- 6<&- 9>&-; keep err) &
  exec 7>"$dir/pipe.out" 8>"$dir/pipe.err" 5<&- 6<&-
  (
    exec >&7 2>&8 4<&- 7>&- 8>&- 9>&-
    apart sh -c 'set -- "$ROLLCALL_STEP"; unset ROLLCALL_SELF ROLLCALL_STEP ROLLCALL_UNDO; eval "shift; $1"'
  ) &
  leader=$!
  exec 7>&- 8>&-
  find_born "$leader"
  leader_born=$born
  echo "$leader $born" >"$dir/$part.group"
  (exec 9>&-; watch) &
  watcher=$!
  wait "$leader"
  code=$?
  kill "$watcher" 2>/dev/null
  [ ! -e "$dir/$part.why" ] || bury
  (exec >&4 9>&-; pause "$drain"; echo; echo) &
  watcher=$!
  read -r _ <&4
  read -r _ <&4
  kill "$watcher" 2>/dev/null
}

# Leaves `confirmed` or `undone` in $verdict.
await_verdict() {
  verdict=undone
  if [ "$ended" = "exit 0" ]; then
    seal waiting confirm
    spent=0
    until [ -e "$dir/verdict" ] || [ -e "$dir/step.why" ] || [ "$spent" -ge $((within * 10)) ]; do nap; done
    take "$dir/verdict" undone
    read -r verdict <"$dir/verdict"
    [ "$verdict" = "confirmed $word" ] || verdict=undone
  fi
}

run() {
  read -r word key
  exec </dev/null
  find_digest
  find_boot
  find_born $$
  echo "$boot" >"$dir/boot" && echo "$$ $born" >"$dir/pid" && take "$dir/go" go || exit
  work step
  ended=
  read -r ended 2>/dev/null <"$dir/step.why"
  case $ended in timeout|cancelled) ;; *) ended="exit $code" ;; esac
  if [ "$within" -gt 0 ]; then
    await_verdict
    if [ "$verdict" = undone ]; then
      ROLLCALL_STEP=$ROLLCALL_UNDO
      work undo
      ended="$ended undone $code"
    fi
  fi
  seal rc "$ended"
  # Nobody may be there any more, and it is the last thing that is done.
  echo >&9
}

# --- whoever asks --------------------------------------------------------------------------------------------

# The operation is not there. It never will be, unless this host has lost its memory since it was asked first.
never() {
  up=0
  [ "$age" -eq 0 ] || read -r up 2>/dev/null </proc/uptime
  [ "$age" -eq 0 ] || [ "${up%%.*}" -gt "$age" ] || answer lost the host restarted, and has no record of it
  [ "$verb" != start ] || return 0
  why=$(mkdir -m 700 "$dir" 2>&1) || { [ -d "$dir" ] && return 0; answer refused "$why"; }
  take "$dir/rc" "absent it was never begun"
}

# Passes on what is new in file $1 after $2 bytes; leaves in $at how many that makes.
copy() {
  at=$2
  [ -s "$dir/$1" ] || return 0
  size=$(($(wc -c <"$dir/$1")))
  [ "$size" -gt "$at" ] || return 0
  tail -c "+$((at + 1))" "$dir/$1" | head -c "$((size - at))"
  at=$size
}

copy_both() {
  copy out "$from_out"
  from_out=$at
  copy err "$from_err" >&2
  from_err=$at
}

# True once it is known how it ended; leaves it in $rc.
is_known() {
  [ -f "$dir/rc" ] && read -r rc 2>/dev/null <"$dir/rc" && return 0
  rc="lost its record was removed"
  [ -d "$dir" ] || return 0
  if [ ! -e "$dir/go" ]; then
    [ "$spent" -ge "$patience" ] || return 1
    take "$dir/go" never && take "$dir/rc" "never its runner never came"
    return 1
  fi
  [ "$verb" != confirm ] && [ -f "$dir/waiting" ] && [ ! -e "$dir/verdict" ] && [ ! -e "$dir/step.why" ] &&
    read -r rc <"$dir/waiting" && return 0
  rc="lost the host restarted while it ran"
  read -r was 2>/dev/null <"$dir/boot" && [ "$was" = "$boot" ] || return 0
  alive "$dir/pid" && return 1
  # It may have ended between the two looks.
  read -r rc 2>/dev/null <"$dir/rc" || rc="lost its runner is gone, and left no exit status"
}

# Tells a step that is to be killed: TERM at once, KILL when it had its time.
press() {
  alive "$dir/step.group" || return 0
  if [ -z "$pressed" ]; then
    signal TERM "$pid"
    pressed=$spent
  elif [ $((spent - pressed)) -ge "$grace" ]; then
    signal KILL "$pid"
  fi
}

doze() {
  if [ -n "$wake" ]; then read -r _ <&3; spent=$((spent + 1)); else nap; fi
}

follow() {
  from_out=0 from_err=0 pressed=
  find_boot
  [ -d "$dir" ] || never
  until is_known; do
    [ "$verb" != kill ] || press
    doze
    copy_both
  done
  [ -z "$wake" ] || kill "$wake" 2>/dev/null
  copy_both
  [ ! -e "$dir/out.cut" ] || printf '\n[... the rest was not kept ...]\n'
  [ ! -e "$dir/err.cut" ] || printf '\n[... the rest was not kept ...]\n' >&2
  # The answer stands on a line of its own.
  [ "$from_err" -eq 0 ] || [ -z "$(tail -c 1 "$dir/err")" ] || echo >&2
  answer "$rc"
}

# Reads which record it is about.
receive_name() { read -r name word key || exit 75; }

# Reads all that there is to run. A connection that breaks meanwhile leaves the end away.
receive() {
  receive_name
  text=$(cat)
  case $text in *"$newline# rollcall end $op") ;; *) exit 75 ;; esac
  text=${text%"$newline# rollcall end $op"}
  ROLLCALL_STEP=${text%%"$newline# rollcall undo $op$newline"*} ROLLCALL_UNDO=
  [ "$within" -eq 0 ] || ROLLCALL_UNDO=${text#*"$newline# rollcall undo $op$newline"}
}

# Whoever makes the folder runs the step; everybody else follows.
start() {
  receive
  find_digest || answer refused "no sha256sum, shasum, sha256 or openssl on the host, in its PATH ($PATH); install one"
  enter
  [ -d "$dir" ] || never
  if why=$(mkdir -m 700 "$dir" 2>&1); then launch; else [ -d "$dir" ] || answer refused "no place for its state: $why"; fi
  # Where there is an answer already, it says more: it may be that this was never begun.
  [ -e "$dir/rc" ] || say begun
  follow
}

launch() {
  why=$(mkfifo "$dir/pipe" "$dir/pipe.out" "$dir/pipe.err" "$dir/pipe.wake" 2>&1) || {
    take "$dir/rc" "never no pipes for it: $why"
    return 0
  }
  exec 3<>"$dir/pipe.wake" 9>"$dir/pipe.wake"
  export ROLLCALL_SELF ROLLCALL_STEP ROLLCALL_UNDO
  (
    exec >/dev/null 2>&1 3<&-
    apart sh -c 'eval "$ROLLCALL_SELF"' rollcall '' run "$op" "$dir" '' 0 "$limit" "$within" <<KEY
$word $key
KEY
  ) &
  # Wakes whoever follows from time to time; ends with its first word that nobody hears.
  (exec </dev/null >&9 2>/dev/null 3<&- 9>&-; while :; do nap; echo; done) &
  wake=$!
  exec 9>&-
}

sweep() {
  enter
  why=$({ echo >"$place/writable" && rm -f "$place/writable"; } 2>&1) || answer refused "no place for its state: $why"
  find "$place/ops/." -name . -o -prune -type d -mtime +7 -print 2>/dev/null | while read -r old; do
    name=${old##*/}
    [ "${name%%-*}" -ge "$op" ] || rm -rf "$old"
  done
  answer ready
}

case $verb in
  run) dir=$4; run ;;
  start) ROLLCALL_SELF=$1; start ;;
  confirm) receive_name; enter; [ ! -d "$dir" ] || take "$dir/verdict" "confirmed $word"; follow ;;
  kill) receive_name; enter; [ ! -d "$dir" ] || take "$dir/step.why" cancelled; follow ;;
  follow) receive_name; enter; follow ;;
  sweep) sweep ;;
  *) exit 64 ;;
esac
