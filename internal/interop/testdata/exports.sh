#!/bin/sh
# Three exports, of which the size is the length of the name that open got, in KiB.
case $1 in
list_exports) printf 'NAMES+DESCRIPTIONS\na\nbb\nccc dd\nthe first\nthe second\nthe third\n' ;;
default_export) echo bb ;;
open) echo "$3" ;;
get_size) echo "${#2}k" ;;
export_description) echo "described as $2" ;;
pread) head -c "$3" /dev/zero ;;
*) exit 2 ;;
esac
