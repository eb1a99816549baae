#!/bin/sh
# A file as a disk, in the folder of $tmpdir. Its FUA is native: a write with dsync.
echo "$*" >> "${0%/*}/log"
disk=$tmpdir/disk
at() { dd of="$disk" bs=64k oflag=seek_bytes seek="$1" conv=notrunc${2:+,$2} iflag=fullblock 2> /dev/null; }
case $1 in
config) [ "$2" = size ] || { echo "EINVAL unknown key $2" >&2; exit 1; }; echo "$3" > $tmpdir/size ;;
config_complete) [ -f $tmpdir/size ] || { echo "size is missing" >&2; exit 1; } ;;
magic_config_key) echo size ;;
get_ready) truncate -s "$(cat $tmpdir/size)" "$disk" ;;
thread_model) echo parallel ;;
open) mktemp $tmpdir/handle.XXXX ;;
close) rm "$2" ;;
get_size) stat -c %s "$disk" ;;
can_write | can_flush | can_zero | can_trim | can_multi_conn) ;;
can_fua) echo native ;;
can_cache) echo emulate ;;
pread) dd if="$disk" bs=64k iflag=skip_bytes,count_bytes skip="$4" count="$3" 2> /dev/null || { echo EIO >&2; exit 1; } ;;
pwrite) case ,$5, in *,fua,*) at "$4" fdatasync ;; *) at "$4" ;; esac ;;
flush) sync "$disk" ;;
zero) case ,$5, in *,may_trim,*) fallocate -p -o "$4" -l "$3" "$disk" ;; *) fallocate -z -o "$4" -l "$3" "$disk" || { echo EOPNOTSUPP >&2; exit 1; } ;; esac
	case ,$5, in *,fua,*) sync "$disk" ;; esac ;;
trim) fallocate -p -o "$4" -l "$3" "$disk" ;;
export_description) echo a file ;;
*) exit 2 ;;
esac
