# Usage of the file system of $1; $2 `inodes` or nothing.
[ -e "$1" ] || give_up "$1 is not there"
case $2 in
  inodes) df -P -i "$1" 2>/dev/null || df -i "$1" ;;
  *) df -P -k "$1" ;;
esac | awk 'NR == 2 { print "rollcall used " $3; print "rollcall free " $4 }'
say done
