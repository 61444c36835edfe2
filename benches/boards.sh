#!/usr/bin/env bash
# Measures the boards on the fleet of the demo: 1,000 hosts inside the daemon's process, and a run of 20 steps on each. First in a
# real Chromium (benches/boards_browser.py), then in terminals (benches/boards_terminal.py). The daemon, its hosts and the clients
# share the cores. Needs: ssh, chromium, and the Python packages of tests/run. The script stops everything that it started.
#
#     benches/boards.sh                                            # 1,000 hosts, release build
#     ROLLCALL=target/debug/rollcall HOSTS=100 benches/boards.sh
#     FOLLOW=600 benches/boards.sh                                 # follow an output for ten minutes, and not for one
set -euo pipefail
cd "$(dirname "$0")/.."

hosts=${HOSTS:-1000}
follow=${FOLLOW:-60}
if [ -z "${ROLLCALL:-}" ]; then
  cargo build --release --locked --quiet --bin rollcall
  ROLLCALL=${CARGO_TARGET_DIR:-target}/release/rollcall
fi
work=$(mktemp -d)
clean_up() {
  kill -INT "$demo" 2>/dev/null || true
  wait "$demo" 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

TMPDIR=$work "$ROLLCALL" demo --hosts "$hosts" >"$work/demo.log" 2>&1 &
demo=$!
until grep -q 'Ctrl-C here ends it all' "$work/demo.log"; do
  kill -0 "$demo" || { cat "$work/demo.log" >&2; exit 1; }
  sleep 1
done
folder=$(echo "$work"/rollcall-demo-*)
ssh() { command ssh -F "$folder/ssh_config" rollcall "$@"; }

{
  echo 'hosts = "web"'
  for n in $(seq 20); do printf '[[steps]]\nname = "step %s"\nrun = "true"\n' "$n"; done
} >"$folder/config/tasks/wide.toml"
ssh reload >/dev/null
start=$(date +%s.%N)
ssh wide web >"$work/wide.log" </dev/null
printf 'a run of 20 steps on %s hosts: %.1f s, %s lines on the line of the operator\n' "$hosts" \
  "$(echo "$(date +%s.%N) - $start" | bc)" "$(wc -l <"$work/wide.log")"

target/browser/bin/python benches/boards_browser.py 3 "$follow" "$demo" ssh -F "$folder/ssh_config" rollcall
target/python/bin/python benches/boards_terminal.py 3 "$demo" "$folder"
