#!/bin/sh
# A plugin whose answers are in the name of its export: can_flush-can_fua-can_zero-can_trim.
# It writes down its calls, and the file fail names the method that fails, and how.
dir=${0%/*}
echo "$*" >> "$dir/log"
method=$1 handle=$2 count=$3
answer() {
	case $1 in
	yes) exit 0 ;;
	no) exit 3 ;;
	absent) exit 2 ;;
	error) echo EPERM not today >&2; exit 1 ;;
	*) echo "$1"; exit 0 ;;
	esac
}
case $method in
thread_model) echo parallel ;;
open) echo "$3" ;;
get_size) echo 1M ;;
can_write) ;;
can_flush | can_fua | can_zero | can_trim)
	IFS=-
	set -- $handle
	case $method in
	can_flush) answer $1 ;;
	can_fua) answer $2 ;;
	can_zero) answer $3 ;;
	can_trim) answer $4 ;;
	esac
	;;
pread) head -c $count /dev/zero ;;
pwrite | zero | trim | flush)
	read -r which how < "$dir/fail"
	if [ "$which" = "$method" ]; then
		[ "$method" != pwrite ] || cat > /dev/null
		echo "$how" >&2
		exit 1
	fi
	[ "$method" != pwrite ] || exec cat > /dev/null # nbdkit fails now and then if it is not read
	;;
close) ;;
*) exit 2 ;;
esac
