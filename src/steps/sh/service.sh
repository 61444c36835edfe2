# A service of any supported init system. $1 its name, $2 started, stopped, restarted, reloaded or nothing, $3 yes, no or
# nothing: whether it starts with the host. Follows `init.sh`.

where_to_look() {
  case $init in
    systemd) echo "systemctl status $name; journalctl -u $name" ;;
    openrc) echo "rc-service $name status" ;;
    sysv) echo "service $name status" ;;
  esac
}

# systemd ignores a changed unit file until daemon-reload.
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
    # A static or generated unit, which cannot be disabled: another unit starts it.
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
