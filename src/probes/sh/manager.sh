# Detects the package manager of this host, and queries installed packages.
LC_ALL=C
export LC_ALL

for manager in apt-get zypper dnf yum apk none; do
  command -v "$manager" >/dev/null 2>&1 && break
done
[ "$manager" != none ] || give_up "no package manager that rollcall knows is here: apt, dnf, yum, zypper, apk; use a command instead"

# Prints the installed version of $1; prints nothing if it is not installed.
installed() {
  case $manager in
    apt-get) dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | sed -n 's/^installed //p' | tail -n 1 ;;
    apk) apk info -e -v "$1" 2>/dev/null | sed -n "s/^$1-\([0-9]\)/\1/p" | tail -n 1 ;;
    *) rpm -q --qf '%{VERSION}-%{RELEASE}\n' "$1" 2>/dev/null | grep -v ' ' | tail -n 1 ;;
  esac
}
