#!/bin/sh
# Reads at 0 hang, in a child, and so does unload. Writes fail.
case $1 in
get_size) echo 1M ;;
can_write) ;;
pread) [ "$4" != 0 ] || { sleep 1000; exit; }; head -c "$3" /dev/zero ;;
pwrite) cat > /dev/null; printf 'ENOSPC the disk is full \033[31m\n' >&2; exit 1 ;;
unload) sleep 1000 ;;
*) exit 2 ;;
esac
