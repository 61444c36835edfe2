#!/usr/bin/env bash
# Measures the schedule: many hosts with several checks each every minute, compared with check_by_ssh for the same check.
#
# All hosts are one real sshd on this machine, on a free port of 127.0.1.1, 127.0.1.2, ..., 127.0.4.250. The script
# stops everything that it started. CPU of sshd and the plugins is not counted, but uses the same cores. Needs: sshd,
# ssh, python3, monitoring-plugins-basic; as root also the account that tests/run creates.
#
#     benches/schedule.sh                              # 1,000 hosts, 10 checks, 3 minutes after 2 to warm up
#     GROUPS_OF_250=1 CHECKS=5 MINUTES=1 benches/schedule.sh
set -euo pipefail
cd "$(dirname "$0")/.."

groups=${GROUPS_OF_250:-4}
hosts=$((groups * 250))
checks=${CHECKS:-10}
minutes=${MINUTES:-3}
warm=${WARM_UP_S:-120}
samples=${SAMPLES:-200}
plugin='/usr/lib/nagios/plugins/check_dummy 0 fine'
sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd)
account=$(id -un)
[ "$(id -u)" != 0 ] || account=rollcall-test

[ -n "${ROLLCALL:-}" ] || cargo build --release --locked --quiet
rollcall=${ROLLCALL:-${CARGO_TARGET_DIR:-target}/release/rollcall}
work=$(mktemp -d)
daemon= sshd_pid=

clean_up() {
  for pid in $daemon $sshd_pid; do kill "$pid" 2>/dev/null || true; done
  for pid in $daemon $sshd_pid; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

addresses() {
  for group in $(seq "$groups"); do for n in $(seq 250); do echo "127.0.$group.$n"; done; done
}

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
MaxStartups 2000
MaxSessions 100
END
  [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
  "$sshd" -D -f "$work/sshd_config" -E "$work/sshd.log" &
  sshd_pid=$!
  key=$(cut -d' ' -f1,2 "$work/host.pub")
  addresses | while read -r address; do echo "[$address]:$port $key"; done >"$work/known_hosts"
  until ssh_to 127.0.1.1 true 2>/dev/null; do
    kill -0 "$sshd_pid"
    sleep 0.1
  done
}

ssh_to() {
  ssh -F none -p "$port" -l "$account" -i "$work/fleet" -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR \
    -o UserKnownHostsFile="$work/known_hosts" "$@"
}

write_config() {
  mkdir -p "$work/config/hosts" "$work/config/checks"
  cat >"$work/config/rollcall.toml" <<END
listen = "127.0.0.1:0"
host_key = "$work/state/host_key"
store = "$work/state/rollcall.db"
[fleet]
login = "$account"
port = $port
identity = "$work/fleet"
known_hosts = "$work/known_hosts"
END
  printf '[loop]\nhosts = ["127.0.[1-%s].[1-250]"]\nchecks = ["dummy"]\n' "$groups" >"$work/config/hosts/here.toml"
  echo 'every = "1m"' >"$work/config/checks/dummy.toml"
  for n in $(seq "$checks"); do
    printf '[[check]]\nname = "dummy %s"\nrun = "%s"\nplugin = true\n' "$n" "$plugin" >>"$work/config/checks/dummy.toml"
  done
  echo "role=\"admin\" $(cat "$work/ann.pub")" >"$work/config/operators"
}

start_daemon() {
  NO_COLOR=1 "$rollcall" --config "$work/config" serve 2>"$work/daemon.log" &
  daemon=$!
  until door=$(grep -om1 '127\.0\.0\.1:[0-9]*' "$work/daemon.log"); do
    kill -0 "$daemon"
    sleep 0.05
  done
  door=${door##*:}
}

ask() {
  ssh -F none -p "$door" -i "$work/ann" -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR \
    -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null rollcall@127.0.0.1 "$1"
}

# CPU time of the daemon so far, in ticks.
daemon_ticks() {
  sed 's/.*) //' "/proc/$daemon/stat" | awk '{ print $12 + $13 }'
}

pace() {
  ask 'status --json' >"$work/status" || true
  grep '"schema":"pace"' "$work/status"
}

# CPU of check_by_ssh and its ssh, in milliseconds for each check.
by_ssh() {
  local TIMEFORMAT='%U %S'
  {
    time addresses | head -n "$samples" | xargs -P 2 -I{} /usr/lib/nagios/plugins/check_by_ssh -H {} -p "$port" \
      -l "$account" -i "$work/fleet" -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR \
      -o UserKnownHostsFile="$work/known_hosts" "$@" -C "$plugin" >"$work/answers"
  } 2>"$work/time"
  [ "$(grep -c fine "$work/answers")" = "$samples" ]
  awk -v n="$samples" '{ printf "%.2f\n", ($1 + $2) * 1000 / n }' "$work/time"
}

start_sshd
peer=$(by_ssh)
peer_same=$(by_ssh -o KexAlgorithms=curve25519-sha256)
write_config
start_daemon
sleep "$warm"
before=$(pace) ticks_before=$(daemon_ticks) at_before=$(date +%s.%N)
sleep $((minutes * 60))
after=$(pace) ticks_after=$(daemon_ticks) at_after=$(date +%s.%N)
echo "$hosts hosts, $checks checks each every minute; $(nproc) cores; $(uname -sr); $(ssh -V 2>&1)"
awk '/^Vm(HWM|RSS)/' "/proc/$daemon/status" >"$work/memory"
du -cb "$work"/state/rollcall.db* | tail -1 >"$work/disk"
python3 - "$work" "$before" "$after" "$((ticks_after - ticks_before))" "$(getconf CLK_TCK)" "$at_before" "$at_after" "$peer" "$peer_same" <<'END'
import json, sys
work, before, after, ticks, rate, begun, ended, peer, same = sys.argv[1:]
before, after = json.loads(before), json.loads(after)
looks, cpu, wall = after["looks"] - before["looks"], int(ticks) / int(rate), float(ended) - float(begun)
each = cpu / looks * 1000
memory = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in open(f"{work}/memory")}
states = [json.loads(line) for line in open(f"{work}/status") if '"schema":"status"' in line]
ok = sum(state["verdict"] == "ok" for state in states)
print(f"{ok} of {len(states)} ok; {int(open(f'{work}/disk').read().split()[0]) / 2**20:.0f} MiB on disk")
print("| | |\n|---|---|")
print(f"| probes a second | {looks / wall:.0f} |")
print(f"| CPU of the daemon | {cpu / wall * 100:.1f} % of one core, {each:.3f} ms for each probe |")
print(f"| memory of the daemon, current / peak | {memory['VmRSS']:.0f} / {memory['VmHWM']:.0f} MiB |")
print(f"| lateness of probes: 99th percentile / maximum | {after['late_p99_ms']} / {after['late_max_ms']} ms |")
print(f"| CPU of check_by_ssh for one check, default / same key exchange | {peer} / {same} ms |")
print(f"| ratio to rollcall | {float(peer) / each:.0f} / {float(same) / each:.0f} |")
END
