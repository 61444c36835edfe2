# The load averages and the number of processors.
if [ -r /proc/loadavg ]; then read -r one five fifteen rest </proc/loadavg
else
  averages=$(uptime | sed 's/.*load average[s]*: *//; s/,/ /g')
  # shellcheck disable=SC2086
  set -- $averages
  one=$1 five=$2 fifteen=$3
fi
say load1 "$one"; say load5 "$five"; say load15 "$fifteen"
say cpus "$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || grep -c '^processor' /proc/cpuinfo)"
say done
