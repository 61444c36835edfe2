# Compares a file with its desired content, and sets its mode and owner if the content is correct. $1 path,
# $2 SHA-256, $3 mode, $4 owner. Prints `send` as the last line if the content must be sent.
name=$1 sum=$2 bits=$3 owner=$4
follow "$name"
if [ ! -e "$to" ] || [ "$(digest "$to")" != "$sum" ]; then
  echo send
  exit 0
fi
attributes "$to" "$bits" "$owner" "$name"
finish
