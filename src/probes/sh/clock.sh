# The time, as precisely as the host's date prints it.
now=$(date +%s.%N)
case $now in *[!0-9.]* | *.) now=$(date +%s) ;; esac
say now "$now"
say done
