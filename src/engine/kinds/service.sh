# A service of whatever init system runs this host. $1 its name, $2 started, stopped, restarted, reloaded or nothing,
# $3 yes, no or nothing: whether it is to start with the host.
name=$1 state=$2 enabled=$3
LC_ALL=C
export LC_ALL

case $name in '' | -* | *[!A-Za-z0-9_.@:\\-]*) give_up "\`$name\` cannot be the name of a service" ;; esac

# Installed is not enough for systemd: it has to be what runs.
init=none
case $(systemctl is-system-running 2>/dev/null) in
  '' | offline | unknown)
    if command -v rc-service >/dev/null 2>&1; then init=openrc
    elif command -v service >/dev/null 2>&1; then init=sysv
    fi
    ;;
  *) init=systemd ;;
esac
[ "$init" != none ] || give_up "no init system runs here (systemd, OpenRC or SysV; is it a container?): services cannot be told anything; use a run step instead"

unknown() { give_up "no service is called $name; look: $1"; }

case $init in
  systemd)
    load=$(systemctl show -p LoadState "$name")
    case ${load#LoadState=} in
      not-found) unknown "systemctl list-unit-files" ;;
      masked) [ "$state/$enabled" = stopped/ ] || [ "$state/$enabled" = stopped/no ] || give_up "$name is masked; if it is to run: systemctl unmask $name" ;;
      loaded) ;;
      *) give_up "systemd cannot load $name (${load:-it does not answer}); look: systemctl status $name" ;;
    esac
    ;;
  openrc) rc-service --exists "$name" || unknown "rc-service --list" ;;
  sysv) case $(service "$name" status 2>&1) in *'unrecognized service'*) unknown "service --status-all" ;; esac ;;
esac

runs() {
  case $init in
    systemd) systemctl is-active --quiet "$name" ;;
    openrc) rc-service "$name" status >/dev/null 2>&1 ;;
    sysv) service "$name" status >/dev/null 2>&1 ;;
  esac
}

# Prints yes, no, or why it can be neither.
starts_with_host() {
  case $init in
    systemd)
      is=$(systemctl is-enabled "$name" 2>/dev/null)
      case $is in
        enabled | enabled-runtime | alias) echo yes ;;
        disabled | masked | masked-runtime | linked | linked-runtime) echo no ;;
        *) echo "${is:-unknown}" ;;
      esac
      ;;
    openrc) rc-update show | awk -v name="$name" '$1 == name && NF > 2 { found = 1 } END { print found ? "yes" : "no" }' ;;
    sysv)
      is=no
      for link in /etc/rc[2345].d/S[0-9][0-9]"$name"; do
        if [ -e "$link" ] || [ -L "$link" ]; then is=yes; fi
      done
      echo "$is"
      ;;
  esac
}

where_to_look() {
  case $init in
    systemd) echo "systemctl status $name; journalctl -u $name" ;;
    openrc) echo "rc-service $name status" ;;
    sysv) echo "service $name status" ;;
  esac
}

# A unit file that was changed counts when systemd has read it again.
tell() {
  case $init in
    systemd)
      [ "$(systemctl show -p NeedDaemonReload "$name")" != NeedDaemonReload=yes ] || systemctl daemon-reload
      systemctl "$1" "$name"
      ;;
    openrc) rc-service "$name" "$1" ;;
    sysv) service "$name" "$1" ;;
  esac || give_up "$name: $1 failed; look: $(where_to_look)"
}

enable() {
  case $init in
    systemd) systemctl enable "$name" ;;
    openrc) rc-update add "$name" default ;;
    sysv) by_links defaults && by_links enable ;;
  esac
}

disable() {
  case $init in
    systemd) systemctl disable "$name" ;;
    openrc) rc-update -a del "$name" ;;
    sysv) by_links disable ;;
  esac
}

by_links() {
  if command -v update-rc.d >/dev/null 2>&1; then update-rc.d "$name" "$1"
  elif ! command -v chkconfig >/dev/null 2>&1; then give_up "neither update-rc.d nor chkconfig is here: what starts with the host cannot be changed"
  elif [ "$1" = disable ]; then chkconfig "$name" off
  elif [ "$1" = enable ]; then chkconfig "$name" on
  else chkconfig --add "$name"
  fi
}

if [ -n "$enabled" ]; then
  is=$(starts_with_host)
  case $enabled/$is in
    yes/yes | no/no) ;;
    yes/no) if differs "enable $name"; then enable || give_up "$name could not be enabled; look: $(where_to_look)"; fi ;;
    no/yes) if differs "disable $name"; then disable || give_up "$name could not be disabled; look: $(where_to_look)"; fi ;;
    # Whatever starts it, it is not its own to say.
    no/*) ;;
    *) give_up "$name cannot be enabled: systemd says it is $is; look: systemctl cat $name" ;;
  esac
fi

case $state in
  started) runs || { if differs "start $name"; then tell start; fi; } ;;
  stopped) if runs && differs "stop $name"; then tell stop; fi ;;
  restarted) if differs "restart $name"; then tell restart; fi ;;
  reloaded)
    if runs; then
      if differs "reload $name"; then tell reload; fi
    elif differs "start $name"; then tell start
    fi
    ;;
esac
finish
