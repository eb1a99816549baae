#!/bin/sh
# A disk on which a block fails or not by chance, which its address decides: of 4096
# bytes each, by a checksum. It holds nothing.
echo "$*" >> "${0%/*}/log"
chance() {
	set -- $(echo "$1 $2" | cksum)
	case $(($1 % 7)) in
	0) echo "EIO the surface is scratched" >&2 ;;
	1) echo "ENOSPC no spare block" >&2 ;;
	2) echo "EPERM" >&2 ;;
	3) echo "it does not say why" >&2 ;;
	*) return ;;
	esac
	exit 1
}
case $1 in
get_size) echo 1M ;;
can_write | can_flush | can_trim) ;;
pread) chance pread $4; head -c "$3" /dev/zero ;;
pwrite) cat > /dev/null; chance pwrite $4 ;;
trim) chance trim $4 ;;
flush) ;;
*) exit 2 ;;
esac
