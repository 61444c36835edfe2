# Packages of any supported distribution. $1 present, latest or absent; $2 the desired version, or nothing; $3
# `refresh` to refresh the package index first; then the names. The package database before and after decides
# whether anything changed, not the output of the package manager.
state=$1 version=$2 refresh=$3
shift 3
LC_ALL=C DEBIAN_FRONTEND=noninteractive ZYPP_LOCK_TIMEOUT=120
export LC_ALL DEBIAN_FRONTEND ZYPP_LOCK_TIMEOUT
# In seconds: how long to wait for another apt. The other package managers wait by themselves.
patience=120
refreshed=

for name; do
  case $name in
    '' | [!A-Za-z0-9]* | *[!A-Za-z0-9.+:_~-]* | *-) give_up "\`$name\` cannot be the name of a package" ;;
  esac
done
case $version in *[!A-Za-z0-9.+:_~^-]*) give_up "\`$version\` cannot be the version of a package" ;; esac

# Retries apt-get while another process holds the lock: `update` does not wait for it, and older versions never do. Prints
# its output to stderr if it fails.
apt() {
  waited=0
  until { said=$(apt-get -q -y "$@" 2>&1 >&3); } 3>&1; do
    case $said in
      *'Could not get lock'*) [ "$waited" -lt "$patience" ] || give_up "another apt has held the lock for $patience seconds; look: ps -e | grep -e apt -e dpkg" ;;
      *) printf '%s\n' "$said" >&2; return 1 ;;
    esac
    waited=$((waited + 1))
    sleep 1
  done
}

all_installed() { for name; do echo "$name $(installed "$name")"; done; }

# True if $2, the installed version of $1, is the desired one. The release of an rpm is optional.
is_wanted() {
  [ -n "$2" ] || return 1
  case $manager/$version in
    */) return 0 ;;
    apt-get/* | apk/*) [ "$2" = "$version" ] ;;
    *) [ "$2" = "$version" ] || [ "${2%-*}" = "$version" ] ;;
  esac
}

# True if the index has a newer version of $1 than $2.
is_older() {
  case $manager in
    apt-get)
      newest=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p')
      [ -n "$newest" ] && [ "$newest" != '(none)' ] && [ "$newest" != "$2" ]
      ;;
    zypper) zypper --non-interactive --quiet list-updates 2>/dev/null | awk -F'|' -v name="$1" '{ gsub(/ /, "", $3) } $3 == name { found = 1 } END { exit !found }' ;;
    apk) apk version -l '<' "$1" 2>/dev/null | grep -q ' < ' ;;
    *) "$manager" -q check-update "$1" >/dev/null 2>&1; [ $? -eq 100 ] ;;
  esac
}

# True if the index has $1, in the desired version.
is_known() {
  case $manager in
    apt-get)
      found=$(apt-cache show "$1" 2>/dev/null)
      printf '%s\n' "$found" | grep -qxF "Package: ${1%%:*}" || return 1
      [ -z "$version" ] || printf '%s\n' "$found" | grep -qxF "Version: $version"
      ;;
    zypper) zypper --non-interactive --quiet search --match-exact "$1" >/dev/null 2>&1 ;;
    apk) [ -n "$(apk search -e "$1" 2>/dev/null)" ] ;;
    *) "$manager" -q list "$1" >/dev/null 2>&1 ;;
  esac
}

refresh() {
  [ -z "$refreshed" ] || return 0
  refreshed=1
  case $manager in
    apt-get) apt update ;;
    zypper) zypper --non-interactive refresh ;;
    apk) apk --wait "$patience" update ;;
    dnf) dnf -q makecache --refresh ;;
    *) "$manager" -q makecache ;;
  esac || give_up "the package index could not be refreshed: $manager says why above; check its sources"
}

# $1 is install, upgrade or remove. Keeps configuration files that were edited.
change() {
  what=$1
  shift
  [ $# -gt 0 ] || return 0
  case $manager/$what in
    apt-get/remove) apt remove "$@" ;;
    apt-get/*) apt -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold ${version:+--allow-downgrades} install "$@" ;;
    zypper/remove) zypper --non-interactive remove "$@" ;;
    zypper/*) zypper --non-interactive install ${version:+--oldpackage} "$@" ;;
    apk/install) apk --wait "$patience" add "$@" ;;
    apk/upgrade) apk --wait "$patience" add --upgrade "$@" ;;
    apk/remove) apk --wait "$patience" del "$@" ;;
    *) "$manager" -y "$what" "$@" ;;
  esac || give_up "$manager could not $what $*: it says why above"
}

# Prints a package with its version, in the syntax of the package manager.
pinned() {
  case $manager/$version in
    */) echo "$1" ;;
    dnf/* | yum/*) echo "$1-$version" ;;
    *) echo "$1=$version" ;;
  esac
}

if [ "$mode" = act ] && [ -n "$refresh" ]; then
  [ "$(id -u)" = 0 ] || give_up "only root can refresh the index of packages; write sudo = true to the step"
  refresh
fi

add= renew= drop=
for name; do
  is=$(installed "$name")
  if [ "$state" = absent ]; then
    if [ -n "$is" ]; then differs "remove $name $is"; drop="$drop $name"; fi
  elif ! is_wanted "$name" "$is"; then
    differs "install $name${version:+ $version}${is:+ (was $is)}"
    add="$add $name"
  elif [ "$state" = latest ] && is_older "$name" "$is"; then
    differs "upgrade $name (was $is)"
    renew="$renew $name"
  fi
done
[ -n "$changed" ] && [ "$mode" = act ] || finish
[ "$(id -u)" = 0 ] || give_up "only root can change packages; write sudo = true to the step"

before=$(all_installed "$@")
words=
for name in $add; do
  is_known "$name" || { refresh; is_known "$name"; } || give_up "$manager knows no package $name${version:+ in version $version}, not even after its index was updated; look: ${manager%-get} search ${name%%:*}"
  words="$words $(pinned "$name")"
done
change remove $drop
case $manager in
  # `install` also upgrades with these two.
  apt-get | zypper) change install $words $renew ;;
  *) change install $words; change upgrade $renew ;;
esac
after=$(all_installed "$@")
for name; do
  is=$(installed "$name")
  case $state/$is in
    absent/ ) ;;
    absent/*) give_up "$name is still installed, though $manager reported no error" ;;
    *) is_wanted "$name" "$is" || give_up "$name${version:+ $version} is not installed, though $manager reported no error: is it a name that other packages provide? Write one of these" ;;
  esac
done
[ "$before" != "$after" ] || changed=
finish
