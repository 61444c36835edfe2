# Looks at a file that is to be there, and gives it its mode and owner if its content is right. $1 path,
# $2 SHA-256, $3 mode, $4 owner. The last line is `send` when its content is not there.
name=$1 sum=$2 bits=$3 owner=$4
follow "$name"
if [ ! -e "$to" ] || [ "$(digest "$to")" != "$sum" ]; then
  echo send
  exit 0
fi
attributes "$to" "$bits" "$owner" "$name"
finish
