#!/usr/bin/env bash
# Measures `run all -- true` on many hosts, compared with clush and plain ssh under xargs.
#
# The other tools run twice: with their defaults, and with the key exchange that rollcall and this sshd
# use. An ssh that prefers another one (sntrup761 up to OpenSSH 9.9) spends most of its time on it.
#
# All hosts are one real sshd on this machine, on a free port of 127.0.1.1, 127.0.1.2, ... The script stops
# everything that it started. Needs: sshd, ssh, clush (Debian package clustershell), python3; as root also
# the account that tests/run creates.
#
#     benches/beside.sh                    # 200 hosts, 5 rounds
#     HOSTS=50 ROUNDS=3 benches/beside.sh
set -euo pipefail
cd "$(dirname "$0")/.."

hosts=${HOSTS:-200}
rounds=${ROUNDS:-5}
parallel=64
same_kex=-oKexAlgorithms=curve25519-sha256
sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd)
account=$(id -un)
[ "$(id -u)" != 0 ] || account=rollcall-test

cargo build --release --locked --quiet
rollcall=${CARGO_TARGET_DIR:-target}/release/rollcall
work=$(mktemp -d)
daemon= sshd_pid= kex=

stop_daemon() {
  if [ -n "$daemon" ]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
    daemon=
  fi
}

clean_up() {
  stop_daemon
  [ -z "$sshd_pid" ] || kill "$sshd_pid" 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

start_sshd() {
  chmod 755 "$work"
  for key in host fleet ann; do
    ssh-keygen -q -t ed25519 -N '' -C "$key" -f "$work/$key"
  done
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
  # sshd takes at most 16 addresses, so it listens on all; AllowUsers admits loopback only.
  cat >"$work/sshd_config" <<END
Port $port
ListenAddress 0.0.0.0
AllowUsers $account@127.0.0.0/8
HostKey $work/host
AuthorizedKeysFile $work/fleet.pub
StrictModes no
UsePAM no
PidFile none
LogLevel ERROR
MaxStartups 1000
MaxSessions 100
END
  [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
  "$sshd" -D -f "$work/sshd_config" -E "$work/sshd.log" &
  sshd_pid=$!
  key=$(cut -d' ' -f1,2 "$work/host.pub")
  for n in $(seq "$hosts"); do echo "[127.0.1.$n]:$port $key"; done >"$work/known_hosts"
  cat >"$work/ssh_config" <<END
Host 127.0.1.*
  User $account
  Port $port
  IdentityFile $work/fleet
  IdentitiesOnly yes
  BatchMode yes
  StrictHostKeyChecking yes
  UserKnownHostsFile $work/known_hosts
  GlobalKnownHostsFile none
  LogLevel ERROR
END
  until ssh -F "$work/ssh_config" 127.0.1.1 true 2>/dev/null; do
    kill -0 "$sshd_pid"
    sleep 0.1
  done
}

write_config() {
  mkdir -p "$work/config/hosts"
  cat >"$work/config/rollcall.toml" <<END
listen = "127.0.0.1:0"
host_key = "$work/state/host_key"
store = "$work/state/rollcall.db"
[fleet]
login = "$account"
port = $port
identity = "$work/fleet"
known_hosts = "$work/known_hosts"
parallel = $parallel
END
  printf '[loop]\nhosts = ["127.0.1.[1-%s]"]\n' "$hosts" >"$work/config/hosts/here.toml"
  echo "role=\"admin\" $(cat "$work/ann.pub")" >"$work/config/operators"
}

start_daemon() {
  : >"$work/daemon.log"
  NO_COLOR=1 "$rollcall" --config "$work/config" serve 2>"$work/daemon.log" &
  daemon=$!
  until door=$(grep -om1 '127\.0\.0\.1:[0-9]*' "$work/daemon.log"); do
    kill -0 "$daemon"
    sleep 0.05
  done
  door=${door##*:}
}

ask_rollcall() {
  ssh -F none -p "$door" -i "$work/ann" -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR \
    -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null rollcall@127.0.0.1 "run 'all' -- true"
}

ask_clush() {
  clush -b -w "127.0.1.[1-$hosts]" -f "$parallel" -o "-F $work/ssh_config ${kex:-}" true
}

ask_xargs() {
  # shellcheck disable=SC2086
  seq "$hosts" | xargs -P "$parallel" -I{} ssh -F "$work/ssh_config" ${kex:-} -n 127.0.1.{} true
}

# Appends the name, and the wall, user and system time of a command with its children, in seconds.
timed() {
  local name=$1 TIMEFORMAT='%3R %3U %3S'
  shift
  { time "$@" >"$work/answer" 2>&1; } 2>"$work/time" || { cat "$work/answer" >&2; exit 1; }
  echo "$name $(cat "$work/time")" >>"$work/times"
}

# CPU time of the daemon so far, in ticks.
daemon_ticks() {
  sed 's/.*) //' "/proc/$daemon/stat" | awk '{ print $12 + $13 }'
}

# The same for rollcall, with the CPU time of its daemon.
timed_rollcall() {
  local before after
  before=$(daemon_ticks)
  timed "$1" ask_rollcall
  after=$(daemon_ticks)
  echo "$1 $((after - before)) $(getconf CLK_TCK)" >>"$work/ticks"
}

# Largest sum of memory (PSS, so that shared pages count once) of a command and its children, in MiB. The
# daemon's peak is added to that of its client. Not timed, because the measurement takes time itself.
memory() {
  local name=$1
  shift
  export -f "$@"
  export work door hosts parallel kex
  python3 - "$work" "$@" >"$work/memory.$name" <<'END'
import os, subprocess, sys, time
process = subprocess.Popen(["bash", "-c", sys.argv[2]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
def pss(pid):
    try:
        fields = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
        if int(fields[3]) != process.pid:
            return 0
        lines = open(f"/proc/{pid}/smaps_rollup").read().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, IndexError):
        return 0
peak = 0
while process.poll() is None:
    peak = max(peak, sum(pss(pid) for pid in os.listdir("/proc") if pid.isdigit()))
    time.sleep(0.02)
print(peak / 1024)
END
}

daemon_peak() {
  awk '/^VmHWM/ { print $2 / 1024 }' "/proc/$daemon/status"
}

report() {
  python3 - "$work" "$hosts" <<'END'
import statistics, sys
from collections import defaultdict
work, hosts = sys.argv[1], int(sys.argv[2])
wall, cpu, ticks = defaultdict(list), defaultdict(list), defaultdict(float)
for line in open(f"{work}/times"):
    name, real, user, system = line.split()
    wall[name].append(float(real))
    cpu[name].append(float(user) + float(system))
for line in open(f"{work}/ticks"):
    name, count, rate = line.split()
    ticks[name] += float(count) / float(rate)
memory = lambda name: sum(float(line) for line in open(f"{work}/memory.{name}"))
rows = [("rollcall, cold", "cold", "rollcall"), ("rollcall, warm", "warm", "rollcall"),
        ("clush -f 64", "clush", "clush"), ("ssh, xargs -P 64", "xargs", "xargs"),
        ("clush, same key exchange", "clush-same", "clush"), ("ssh, same key exchange", "xargs-same", "xargs")]
print("| | wall time, median (min to max) | wall time per host | client CPU per host | peak memory |")
print("|---|---|---|---|---|")
for shown, name, memory_of in rows:
    rounds = len(wall[name])
    middle = statistics.median(wall[name])
    used = (sum(cpu[name]) + ticks[name]) / rounds / hosts
    if ticks[name]:
        shown += f" (of its CPU, {ticks[name] / rounds / hosts * 1000:.2f} ms in the daemon)"
    print(f"| {shown} | {middle:.2f} s ({min(wall[name]):.2f} to {max(wall[name]):.2f}) "
          f"| {middle / hosts * 1000:.2f} ms | {used * 1000:.2f} ms | {memory(memory_of):.0f} MiB |")
END
}

start_sshd
write_config
for _ in $(seq "$rounds"); do
  start_daemon
  timed_rollcall cold
  for _ in 1 2 3 4 5; do timed_rollcall warm; done
  stop_daemon
  for kex in '' "$same_kex"; do
    timed "clush${kex:+-same}" ask_clush
    timed "xargs${kex:+-same}" ask_xargs
  done
done
start_daemon
memory rollcall ask_rollcall
daemon_peak >>"$work/memory.rollcall"
stop_daemon
kex=
memory clush ask_clush
memory xargs ask_xargs
echo "$hosts hosts, $rounds rounds; $(nproc) cores; $(uname -sr); $(ssh -V 2>&1); $(clush --version)"
echo
report
