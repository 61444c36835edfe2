# Runs one step of a task on this host, apart from the connection that requested it, and reports how the step ended:
# to this connection or to a later one. Plain POSIX sh; the text is constant, values are arguments or come on stdin.
# Called as: sh -c 'eval "$1"' rollcall TEXT VERB OPERATION SITE EPOCH AGE LIMIT WITHIN
#
#   start    run the step whose script is on stdin, unless it was started before; then as follow
#   follow   pass its output on, and report how it ended; a step that was not started yet will never start
#   kill     stop it: TERM, and KILL after a grace period; then as follow
#   confirm  keep the step (see WITHIN); then as follow
#   sweep    create the state directory, and delete records of old runs: OPERATION is the oldest to keep
#
# The first line on stdin is "NAME WORD KEY". `follow` and `kill` need only NAME, and `confirm` NAME and WORD. They
# are on no command line and in no environment: a step that runs as the same login cannot find out the NAME of a
# record before it exists, the WORD that confirms, or the KEY that seals.
#
# SITE names the requesting rollcall, EPOCH its epoch: an epoch lower than the highest one seen here is refused.
# AGE is the age of the operation in seconds, LIMIT its time limit in seconds. WITHIN, if not 0, is how many seconds
# the host waits for `confirm` before it undoes the step by itself.
#
# The record of an operation:
#   boot, pid    of the runner: its boot id; its process id and start time
#   go           its creator decides: the runner (`go`), that the step starts; another process, that it never starts
#   out, err     the output of the step, the first megabyte; out.cut, err.cut: there was more
#   step.group, step.why   the process group of the step, and why it was killed, if it was; the same for `undo`
#   waiting, verdict       the step is done and waits for `confirm`; `confirmed` and WORD, or `undone`
#   rc           how the step ended; written last
#
# The text in `waiting` and `rc` ends with a seal by the runner, which rollcall verifies, because the step can write
# these files, too. The answer is the last line on stderr, "rollcall OPERATION ANSWER", with exit status 0.

# Unset first: the step would inherit variables that are in the environment already.
unset name word key text

verb=$2 op=$3 site=$4 epoch=$5 age=$6 limit=$7 within=$8
# Limit of kept output, in blocks of 512 bytes, the unit of ulimit.
blocks=2048
# In tenths of a second: from TERM to KILL.
grace=50
# In seconds: to drain the pipes of the step, which a background child may hold open forever.
drain=1
newline='
'
wake= spent=0

say() { printf "rollcall %s %s\n" "$op" "$*" >&2; }
answer() { say "$@"; exit 0; }

# Creates file $1 with content $2; only one process succeeds. A link, so that nobody ever reads the file without its content.
take() { printf "%s\n" "$2" >"$1.$$" && ln "$1.$$" "$1" && rm "$1.$$"; } 2>/dev/null

find_digest() {
  for digest in sha256sum "shasum -a 256" "sha256 -q" "openssl dgst -sha256 -r"; do
    command -v "${digest%% *}" >/dev/null 2>&1 && return
  done
}

# Writes $2 and its seal to file $1 atomically, and replaces whatever the step has put there. KEY is on both sides, so
# that the hashed text cannot be extended.
seal() {
  proof=$(echo "$key $2 $key" | $digest)
  rm -rf "$dir/$1" "$dir/new"
  echo "$2 ${proof%% *}" >"$dir/new" && mv -f "$dir/new" "$dir/$1"
}

# Sleeps briefly at first, so that a short step is not delayed; later one second.
nap() {
  if [ "$spent" -lt 30 ] && sleep 0.1 2>/dev/null; then spent=$((spent + 1)); else sleep 1; spent=$((spent + 10)); fi
}

# Sleeps for $1 seconds; TERM to this process also ends the sleep.
pause() {
  before=$!
  # `$!` changes with the start of the sleep: a variable that is set behind it would be too late for a TERM in between.
  trap '[ "$!" = "$before" ] || kill "$!" 2>/dev/null; exit' TERM
  sleep "$1" &
  wait "$!"
}

# Runs a command in a new session, and so in a new process group. Replaces this process.
apart() {
  command -v setsid >/dev/null 2>&1 && exec setsid "$@"
  command -v perl >/dev/null 2>&1 && exec perl -e 'use POSIX; POSIX::setsid(); exec @ARGV; exit 126' "$@"
  trap "" HUP
  exec "$@"
}

find_boot() {
  read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id || boot=$(sysctl -n kern.boottime 2>/dev/null)
}

# Sets $born to the start time of process $1, or empty if there is none. It tells apart processes that reuse a number.
find_born() {
  born=
  if read -r born 2>/dev/null <"/proc/$1/stat"; then
    set -- ${born##*) }
    born=${20}
  elif [ ! -e /proc/self/stat ]; then
    born=$(ps -o lstart= -p "$1" 2>/dev/null)
  fi
}

# True while the process in file $1 exists. Sets $pid.
alive() {
  read -r pid since 2>/dev/null <"$1" || return 1
  find_born "$pid"
  [ -n "$born" ] && [ "$born" = "$since" ]
}

# Signals the group of process $2, or the process itself if it has no group of its own.
signal() { kill -s "$1" -- "-$2" 2>/dev/null || kill -s "$1" "$2" 2>/dev/null; }

# --- the state directory: see find_place in place.sh, which precedes this text ---------------------------------

# Refuses a rollcall with an older epoch.
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

# Keeps the first megabyte of stdin in file $1. Reads the rest, too, so that no writer blocks.
keep() {
  trap "" XFSZ
  ulimit -f "$blocks"
  cat >>"$dir/$1" 2>/dev/null || { true >"$dir/$1.cut"; cat >/dev/null; }
  echo >&4
}

# Signals the group of $leader, unless $leader has exited and another process has its number.
signal_leader() {
  find_born "$leader"
  [ "$born" != "$leader_born" ] || signal "$1" "$leader"
}

# Kills the group of $leader at its time limit.
watch() {
  pause "$limit"
  take "$dir/$part.why" timeout
  signal_leader TERM
  pause $((grace / 10))
  signal_leader KILL
}

# Leaves no process of a killed step behind: processes that ignored TERM get the same grace period as their leader.
bury() {
  spent=0
  while kill -0 -- "-$leader" 2>/dev/null && [ "$spent" -lt "$grace" ]; do nap; done
  kill -s KILL -- "-$leader" 2>/dev/null
}

# Runs $ROLLCALL_STEP to its end; sets $code to its exit status. $1 is `step` or `undo`.
work() {
  part=$1
  # Opened for reading and writing, so that neither end blocks. Then each end keeps one direction: readers get EOF.
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

# Sets $verdict to `confirmed` or `undone`.
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
  # Last, because this fails if no client is connected any more.
  echo >&9
}

# --- the client ----------------------------------------------------------------------------------------------

# The operation has no record. Ensures that it never starts, or answers `lost` if the host restarted since the first request.
never() {
  up=0
  [ "$age" -eq 0 ] || read -r up 2>/dev/null </proc/uptime
  [ "$age" -eq 0 ] || [ "${up%%.*}" -gt "$age" ] || answer lost the host restarted, and has no record of it
  [ "$verb" != start ] || return 0
  why=$(mkdir -m 700 "$dir" 2>&1) || { [ -d "$dir" ] && return 0; answer refused "$why"; }
  take "$dir/rc" "absent it was never begun"
}

# Prints the bytes of file $1 after $2; sets $at to the new offset.
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

# True when the end of the step is known; sets $rc.
is_known() {
  [ -f "$dir/rc" ] && read -r rc 2>/dev/null <"$dir/rc" && return 0
  rc="lost its record was removed"
  [ -d "$dir" ] || return 0
  if [ ! -e "$dir/go" ]; then
    # After 10 seconds a runner that did not start is abandoned.
    [ "$spent" -ge 100 ] || return 1
    take "$dir/go" "never no runner came"
  fi
  read -r rc 2>/dev/null <"$dir/go"
  [ "$rc" = go ] || return 0
  [ "$verb" != confirm ] && [ -f "$dir/waiting" ] && [ ! -e "$dir/verdict" ] && [ ! -e "$dir/step.why" ] &&
    read -r rc <"$dir/waiting" && return 0
  rc="lost the host restarted while it ran"
  read -r was 2>/dev/null <"$dir/boot" && [ "$was" = "$boot" ] || return 0
  alive "$dir/pid" && return 1
  # It may have ended between the two tests.
  read -r rc 2>/dev/null <"$dir/rc" || rc="lost its runner is gone, and left no exit status"
}

# Kills a step: TERM at once, KILL after the grace period.
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
  [ ! -e "$dir/out.cut" ] || printf "\n[... the rest was not kept ...]\n"
  [ ! -e "$dir/err.cut" ] || printf "\n[... the rest was not kept ...]\n" >&2
  # The answer needs its own line.
  [ "$from_err" -eq 0 ] || [ -z "$(tail -c 1 "$dir/err")" ] || echo >&2
  answer "$rc"
}

# Reads the name of the record.
receive_name() { read -r name word key || exit 75; }

# Reads the whole script. If the connection breaks, the end marker is missing.
receive() {
  receive_name
  text=$(cat)
  case $text in *"$newline# rollcall end $op") ;; *) exit 75 ;; esac
  text=${text%"$newline# rollcall end $op"}
  ROLLCALL_STEP=${text%%"$newline# rollcall undo $op$newline"*} ROLLCALL_UNDO=
  [ "$within" -eq 0 ] || ROLLCALL_UNDO=${text#*"$newline# rollcall undo $op$newline"}
}

# The process that creates the directory runs the step; all others follow.
start() {
  receive
  find_digest || answer refused "no sha256sum, shasum, sha256 or openssl on the host, in its PATH ($PATH); install one"
  enter
  [ -d "$dir" ] || never
  if why=$(mkdir -m 700 "$dir" 2>&1); then launch; else [ -d "$dir" ] || answer refused "no place for its state: $why"; fi
  # An existing answer is more precise: the step may never have started.
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
    apart sh -c 'eval "$ROLLCALL_SELF"' rollcall "" run "$op" "$dir" "" 0 "$limit" "$within" <<KEY
$word $key
KEY
  ) &
  # Wakes the follower regularly; ends when a write finds no reader.
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
