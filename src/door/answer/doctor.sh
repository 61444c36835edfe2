# What `doctor` asks a host for. Changes nothing.
printf 'rollcall clock %s\n' "$(date +%s)"
if ! command -v sudo >/dev/null 2>&1; then
  echo 'rollcall sudo absent'
elif sudo -n true >/dev/null 2>&1; then
  echo 'rollcall sudo all'
else
  echo 'rollcall sudo refused'
fi
for at in "${HOME:-/}" /var/tmp; do
  df -Pk "$at" 2>/dev/null | while read -r _ _ _ free _ on; do
    case $free in '' | *[!0-9]*) ;; *) printf 'rollcall disk %s %s\n' "$free" "$on" ;; esac
  done
done
echo 'rollcall done'
