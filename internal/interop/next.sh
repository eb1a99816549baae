#!/bin/sh
# Makes FOLDER a Debian of the suite below, with the newest NBD programs, and
# builds the test suites of libnbd, nbd and qemu in it, from Debian's source
# packages. Nothing is installed on this machine but debootstrap.
#
# usage: next.sh FOLDER, as root
set -eu

suite=trixie
peers='nbdkit libnbd-bin python3-libnbd qemu-utils fio nbd-client nbd-server'
tools='build-essential pkgconf libxml2-dev libgnutls28-dev libglib2.0-dev libnl-genl-3-dev gnutls-bin flex bison jq iproute2'

root=${1:?usage: next.sh FOLDER}
[ "$(id -u)" = 0 ] || { echo "next.sh: chroot needs root" >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install -yq --no-install-recommends debootstrap

# The mirror and the proxy are those of this machine's apt.
mirror=$(apt-get indextargets --format '$(SITE)' 'Label: Debian' 'Created-By: Packages' | sed -n 1p)
case $mirror in mirror+file:*) mirror=$(sed -n 's/[[:space:]].*//; /:/ { p; q }' "${mirror#mirror+file:}") ;; esac
[ -n "$mirror" ] || { echo "next.sh: apt has no source of Debian's packages: run apt-get update" >&2; exit 1; }
eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
[ -z "${http_proxy:-}" ] || export http_proxy

rm -rf "$root"
debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$mirror"
printf 'deb %s %s main\ndeb-src %s %s main\n' "$mirror" "$suite" "$mirror" "$suite" >"$root/etc/apt/sources.list"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io" # it can be made again
in_root() { chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }
in_root apt-get update -q
# shellcheck disable=SC2086
in_root apt-get install -yq --no-install-recommends $peers $tools
mkdir -p "$root/src"
echo 'module next // so that ./... of the project stops here' >"$root/go.mod"
in_root sh -c 'cd /src && apt-get source -q libnbd nbd qemu && rm -f *.tar.* *.dsc'

# Patches leave files newer than what was made of them: one time for all keeps
# make from asking for automake.
find "$root/src" -type f -exec touch -r "$root/src" {} +
in_root sh -eu -c '
	cd /src/libnbd-*
	./configure -q --disable-ocaml --disable-python --disable-golang --disable-rust --disable-fuse --disable-ublk --disable-static
	for d in generator include common/include common/utils lib; do make -s -j2 -C $d; done
	make -s -j2 -C tests check TESTS=
	make -s -j2 -C interop check TESTS=
	rm -f sh/nbdsh # built without Python: let PATH find the one of the package
	cd /src/nbd-*
	./configure -q --disable-manpages
	make -s -j2 -C tests/run nbd-tester-client
	for p in nbd-server nbd-client; do # the suite starts these by path: let PATH choose
		rm -f $p
		printf "#!/bin/sh\nexec %s \"\$@\"\n" $p >$p
		chmod +x $p
	done'
# qemu-iotests insists on an emulator, which its tests of images do not start.
printf '#!/bin/sh\n[ "$1" != -machine ] || echo "none  empty machine (default)"\n' >"$root/src/qemu-system"
chmod +x "$root/src/qemu-system"
find "$root/src" -name '*.go' -delete # linters of the project walk into all folders
touch "$root/made"
