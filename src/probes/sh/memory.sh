# Memory and swap, in KiB.
[ -r /proc/meminfo ] || give_up "there is no /proc/meminfo: rollcall can measure memory on Linux only; use a check with \`metric\`"
awk '
  { value[$1] = $2 }
  END {
    available = ("MemAvailable:" in value) ? value["MemAvailable:"] : value["MemFree:"] + value["Buffers:"] + value["Cached:"]
    print "rollcall total " value["MemTotal:"]
    print "rollcall available " available
    print "rollcall swap_total " value["SwapTotal:"] + 0
    print "rollcall swap_free " value["SwapFree:"] + 0
  }' /proc/meminfo
say done
