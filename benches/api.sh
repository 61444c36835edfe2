#!/usr/bin/env bash
# Measures the API beside korv's server, over one SSH connection each, with the same client library (asyncssh) and the same
# number of requests under way; then with a client in Rust (benches/api.rs), which takes less time than Python. At last, 1,000
# readers of events follow runs on 20 hosts, which are one sshd on 127.0.1.1, 127.0.1.2, ... Needs: sshd, ssh-keygen, and the
# Python packages of tests/run. Then 200 watchers, each a plain `ssh` that reads, and 20 that are stopped and read nothing, follow
# a task with 20 steps on these hosts. The script stops everything that it started.
#
#     benches/api.sh                                                        # 1,000 hosts, release build
#     ROLLCALL=target/debug/rollcall LOAD=target/debug/deps/api-HASH benches/api.sh   # these files
set -euo pipefail
cd "$(dirname "$0")/.."

hosts=${HOSTS:-1000}
if [ -z "${ROLLCALL:-}" ]; then
  cargo build --release --locked --quiet --bin rollcall --bench api
  target=${CARGO_TARGET_DIR:-target}/release
  ROLLCALL=$target/rollcall
  LOAD=$(find "$target/deps" -maxdepth 1 -name 'api-*' -executable -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2)
fi
readers=${READERS:-1000}
watchers=${WATCHERS:-200}
stalled=${STALLED:-20}
sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd)
account=$(id -un)
[ "$(id -u)" != 0 ] || account=rollcall-test
python=target/python/bin/python
work=$(mktemp -d)
pids=

clean_up() {
  for pid in $pids; do kill "$pid" 2>/dev/null || true; done
  for pid in $pids; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

for key in host fleet ann bob; do ssh-keygen -q -t ed25519 -N '' -C "$key" -f "$work/$key"; done

# Prints the port of a daemon, once it is in its log.
port_in() {
  until grep -om1 '127\.0\.0\.1:[0-9]*' "$1"; do
    kill -0 "$2" || { cat "$1" >&2; exit 1; }
    sleep 0.05
  done | sed 's/.*://'
}

start_sshd() {
  chmod 755 "$work"
  sshd_port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
  cat >"$work/sshd_config" <<END
Port $sshd_port
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
  pids="$pids $!"
  for n in $(seq 20); do echo "[127.0.1.$n]:$sshd_port $(cut -d' ' -f1,2 "$work/host.pub")"; done >"$work/known_hosts"
}

start_rollcall() {
  mkdir -p "$work/config/hosts"
  cat >"$work/config/rollcall.toml" <<END
listen = "127.0.0.1:0"
host_key = "$work/state/host_key"
store = "$work/state/rollcall.db"
[door]
rate = 1000
burst = 1000
[fleet]
login = "$account"
port = $sshd_port
identity = "$work/fleet"
known_hosts = "$work/known_hosts"
END
  printf '[loop]\nhosts = ["127.0.1.[1-20]"]\n' >"$work/config/hosts/loop.toml"
  printf '[farm]\nhosts = ["farm[0001-%04d].example"]\n' "$hosts" >"$work/config/hosts/here.toml"
  for name in ann bob; do echo "role=\"admin\" $(cat "$work/$name.pub")"; done >"$work/config/operators"
  mkdir -p "$work/config/tasks"
  {
    printf '[[steps]]\nname = "wait"\nrun = "while test -d %s && ! test -e %s/go; do sleep 0.02; done"\n' "$work" "$work"
    for n in $(seq 20); do printf '[[steps]]\nname = "step %s"\nrun = "seq 100"\n' "$n"; done
  } >"$work/config/tasks/steps.toml"
  NO_COLOR=1 RUST_LOG=${RUST_LOG:-info} "$ROLLCALL" --config "$work/config" serve 2>"$work/rollcall.log" &
  rollcall=$!
  pids="$pids $rollcall"
  port=$(port_in "$work/rollcall.log" "$rollcall")
}

start_korv() {
  cat >"$work/server.py" <<'END'
import asyncio, socket, sys
asyncio.set_event_loop(asyncio.new_event_loop())
from korv import KorvServer
spare = socket.socket()
spare.bind(("127.0.0.1", 0))
port = spare.getsockname()[1]
spare.close()
server = KorvServer(port=port, host_keys=[sys.argv[1]], authorized_client_keys=sys.argv[2])
server.add_callback("GET", "/hello", lambda request: (200, {"hello": "world"}))
print(f"127.0.0.1:{port}", flush=True)
server.start()
END
  : >"$work/korv.log"
  "$python" "$work/server.py" "$work/host" "$work/ann.pub" >"$work/korv.log" 2>&1 &
  pids="$pids $!"
  korv_port=$(port_in "$work/korv.log" $!)
}

# The client of an operator, in the place of this shell: client NAME LINE...
client() {
  name=$1
  shift
  exec ssh -F none -n -p "$port" -i "$work/$name" -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
    -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR rollcall@127.0.0.1 "$@"
}

# Waits until so many clients follow a run.
until_followed() {
  until [ "$( (client ann sessions --json) | grep -c "watch $1 --json")" -ge "$2" ]; do sleep 0.1; done
}

# How long the task takes while clients follow it, from the end of its first step: followed READING STALLED
followed() {
  rm -f "$work/go"
  client ann steps loop --json >"$work/task.log" &
  task=$! watching= still=
  until run=$(grep -om1 '"run":[0-9]*' "$work/task.log"); do sleep 0.1; done
  run=${run#*:}
  for n in $(seq "$1"); do
    # One operator has at most 128 connections.
    if [ $((n % 2)) = 0 ]; then name=ann; else name=bob; fi
    client "$name" watch "$run" --json >/dev/null 2>&1 &
    watching="$watching $!"
    # The door has few places for those who have not logged in yet.
    [ $((n % 20)) != 0 ] || until_followed "$run" "$n"
  done
  for _ in $(seq "$2"); do
    client bob watch "$run" --json >/dev/null 2>&1 &
    still="$still $!"
  done
  until_followed "$run" $(($1 + $2))
  [ -z "$still" ] || kill -STOP $still
  begun=$(date +%s%N)
  touch "$work/go"
  wait "$task"
  ended=$(date +%s%N)
  for pid in $watching; do wait "$pid" || echo "a watcher did not see the end"; done
  for pid in $still; do
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
  done
  echo "$(((ended - begun) / 1000000)) ms with $1 watchers and $2 stalled readers"
}

start_sshd
start_rollcall
start_korv
until ssh-keyscan -p "$sshd_port" 127.0.1.1 2>/dev/null | grep -q .; do sleep 0.1; done
until ssh-keyscan -p "$korv_port" 127.0.0.1 2>/dev/null | grep -q .; do sleep 0.1; done
echo "asyncssh, one connection:"
"$python" benches/api.py korv "$korv_port" "$work/ann" /hello
for resource in /version /hosts/farm0001.example /hosts; do
  "$python" benches/api.py rollcall "$port" "$work/ann" "$resource"
done
echo "client in Rust, one connection:"
"$LOAD" load "$port" "$work/ann" /version /hosts/farm0001.example /hosts
echo "readers of events:"
"$LOAD" readers "$port" "$work/ann" "$readers" "run loop -- true"
echo "a task with 20 steps on 20 hosts:"
for _ in 1 2 3 4 5; do
  followed 0 0
  followed "$watchers" "$stalled"
done
