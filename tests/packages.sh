#!/bin/sh
# packages.sh LIST...: installs the Debian packages of these lists, in one call, without starting their services.
# Without root, or on another system, it says what is missing; the tests that need it are skipped by name.
set -eu

packages=$(grep -hv '^#' "$@")

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "tests/packages.sh: not a Debian system; tests use, if you have them:" $packages
    exit 0
fi

missing=""
for package in $packages; do
    case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true) in
    installed) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "Not installed, so the tests that need them are skipped:$missing"
    echo "To install them: sudo apt-get install --no-install-recommends$missing"
    exit 0
fi

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
install() {
    apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 $missing </dev/null
}
echo "Installing for the tests:$missing"
# Lists that were never fetched know no package; lists that are old name files that are gone.
apt-cache show $missing >/dev/null 2>&1 || apt-get update -q -o DPkg::Lock::Timeout=300
install || { apt-get update -q -o DPkg::Lock::Timeout=300 && install; }
