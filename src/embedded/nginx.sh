#!/bin/sh
# Imitates nginx: sends a request to the balancer, as nginx -s signals its master process. `-t` tests a configuration.
home=@HOME@
conf=$home/nginx.conf
ask=
fail() {
  printf 'nginx: %s\n' "$1" >&2
  exit 1
}
while [ $# -gt 0 ]; do
  case $1 in
    -t) ask=test ;;
    -q) ;;
    -s) ask=$2 && shift ;;
    -c) conf=$2 && shift ;;
    *) fail "invalid option: \"$1\"" ;;
  esac
  shift
done
case $ask in test | reload) ;; *) fail "invalid option: \"-s $ask\"" ;; esac
case $conf in /*) ;; *) conf=$PWD/$conf ;; esac
pid=$(cat "$home/nginx.pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null ||
  fail "[error] open() \"$home/nginx.pid\" failed (2: No such file or directory)"
reply=$home/reply.$$
trap 'rm -f "$reply"' EXIT
trap 'exit 1' HUP INT TERM
# Open for reading and writing, so that neither end blocks in open.
mkfifo "$reply" && exec 3<>"$reply" || exit 1
printf '%s %s %s\n' "$ask" "$$" "$conf" 1<>"$home/control"
IFS= read -r complaint <&3
[ -z "$complaint" ] || fail "[emerg] $complaint"
[ "$ask" = reload ] || {
  printf 'nginx: the configuration file %s syntax is ok\n' "$conf"
  printf 'nginx: configuration file %s test is successful\n' "$conf"
} >&2
