# Listening sockets. $1 the port, $2 `udp` or nothing. Without ss the kernel reports the addresses, but not the processes.
port=$1
case $2 in udp) ss=-lunp proc=udp wanted=07 ;; *) ss=-ltnp proc=tcp wanted=0A ;; esac
if has ss && sockets=$(ss -H $ss 2>/dev/null); then
  printf '%s\n' "$sockets" | awk -v port="$port" '{
    local = $4
    at = match(local, /:[0-9]+$/)
    if (!at || substr(local, at + 1) != port) next
    address = substr(local, 1, at - 1)
    sub(/%.*/, "", address)
    process = ""
    if (match($0, /users:\(\("[^"]*"/)) process = substr($0, RSTART + 9, RLENGTH - 10)
    print "rollcall listens " address " " port " " process
  }'
elif [ -r /proc/net/$proc ]; then
  cat /proc/net/$proc /proc/net/${proc}6 2>/dev/null | awk -v port="$port" -v wanted="$wanted" '
    function hex(text,  i, n) { n = 0; for (i = 1; i <= length(text); i++) n = n * 16 + index("0123456789ABCDEF", substr(text, i, 1)) - 1; return n }
    $4 == wanted {
      split($2, parts, ":")
      if (hex(parts[2]) != port) next
      a = parts[1]
      if (a ~ /^0+$/) address = (length(a) > 8) ? "::" : "0.0.0.0"
      else if (length(a) == 8) address = hex(substr(a, 7, 2)) "." hex(substr(a, 5, 2)) "." hex(substr(a, 3, 2)) "." hex(substr(a, 1, 2))
      else address = (a == "00000000000000000000000001000000") ? "::1" : "[" a "]"
      print "rollcall listens " address " " port " "
    }'
elif has sockstat; then
  sockstat -l -P "${2:-tcp}" | awk -v port="$port" 'NR > 1 { at = match($6, /[:.][0-9]+$/); if (at && substr($6, at + 1) == port) print "rollcall listens " substr($6, 1, at - 1) " " port " " $2 }'
else
  give_up "neither ss, /proc/net nor sockstat is here"
fi
say done
