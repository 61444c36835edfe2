# The time, as exactly as this date can tell it.
now=$(date +%s.%N)
case $now in *[!0-9.]* | *.) now=$(date +%s) ;; esac
say now "$now"
say done
