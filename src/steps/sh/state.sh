# Finds the directory in which a host keeps the state of the rollcall $site. Sets $place, or $why with the reason of
# the failure.

# Below the login's home if the login owns it, else below /var/tmp. An existing directory is used.
find_place() {
  own=${XDG_STATE_HOME:-${HOME:-/}} below=rollcall
  [ -n "${XDG_STATE_HOME:-}" ] || below=.local/state/rollcall
  place=$own/$below/$site
  if [ -O "$own" ]; then [ ! -d "$place/ops" ] || return 0; fi
  far=/var/tmp/rollcall-$(id -u)-$site
  if [ -O "$own" ] && [ ! -e "$far" ]; then
    why=$(umask 077; mkdir -p "$place/ops" 2>&1) && return 0
  fi
  place=$far
  [ -d "$place" ] || why=$(mkdir -m 700 "$place" 2>&1) || return 1
  why="$place is not a folder of $(id -un) alone"
  [ ! -L "$place" ] && [ -O "$place" ] || return 1
  case $(ls -ld "$place") in drwx------*) ;; *) return 1 ;; esac
  why=$(umask 077; mkdir -p "$place/ops" 2>&1)
}
