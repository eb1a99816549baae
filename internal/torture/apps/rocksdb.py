# RocksDB by its C interface, which Debian's librocksdb has.
import ctypes.util, glob

names = [ctypes.util.find_library("rocksdb")] + glob.glob("/usr/lib/*/librocksdb.so*")
rocks = ctypes.CDLL([n for n in names if n][0])
pointer, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
for name, result, arguments in [
    ("options_create", pointer, []), ("options_set_create_if_missing", None, [pointer, ctypes.c_ubyte]),
    ("options_set_write_buffer_size", None, [pointer, size]), ("open", pointer, [pointer, text, ctypes.POINTER(text)]), ("close", None, [pointer]),
    ("writeoptions_create", pointer, []), ("writeoptions_set_sync", None, [pointer, ctypes.c_ubyte]), ("readoptions_create", pointer, []),
    ("writebatch_create", pointer, []), ("writebatch_destroy", None, [pointer]), ("writebatch_put", None, [pointer, text, size, text, size]),
    ("write", None, [pointer, pointer, pointer, ctypes.POINTER(text)]), ("create_iterator", pointer, [pointer, pointer]),
    ("iter_seek_to_first", None, [pointer]), ("iter_valid", ctypes.c_ubyte, [pointer]), ("iter_next", None, [pointer]),
    ("iter_key", pointer, [pointer, ctypes.POINTER(size)]), ("iter_value", pointer, [pointer, ctypes.POINTER(size)]),
    ("iter_get_error", None, [pointer, ctypes.POINTER(text)]), ("iter_destroy", None, [pointer]),
]:
    f = getattr(rocks, "rocksdb_" + name)
    f.restype, f.argtypes = result, arguments


class RocksDB:
    def __init__(self, new):
        options = rocks.rocksdb_options_create()
        rocks.rocksdb_options_set_create_if_missing(options, new)
        rocks.rocksdb_options_set_write_buffer_size(options, 64 << 10)  # so that tables are written, too
        self.db = self.call(rocks.rocksdb_open, options, data.encode())
        self.writing, self.reading = rocks.rocksdb_writeoptions_create(), rocks.rocksdb_readoptions_create()
        rocks.rocksdb_writeoptions_set_sync(self.writing, setting("sync") == "on" or new)

    def call(self, f, *arguments):
        error = text()
        result = f(*arguments, ctypes.byref(error))
        if error.value:
            raise OSError("rocksdb: " + error.value.decode(errors="replace"))
        return result

    def put(self, pairs):
        batch = rocks.rocksdb_writebatch_create()
        for key, value in pairs.items():
            rocks.rocksdb_writebatch_put(batch, key.encode(), len(key), value.encode(), len(value))
        self.call(rocks.rocksdb_write, self.db, self.writing, batch)
        rocks.rocksdb_writebatch_destroy(batch)

    def all(self):
        it, out = rocks.rocksdb_create_iterator(self.db, self.reading), {}
        rocks.rocksdb_iter_seek_to_first(it)
        while rocks.rocksdb_iter_valid(it):
            out[self.item(rocks.rocksdb_iter_key, it)] = self.item(rocks.rocksdb_iter_value, it)
            rocks.rocksdb_iter_next(it)
        self.call(rocks.rocksdb_iter_get_error, it)
        rocks.rocksdb_iter_destroy(it)
        return out

    def item(self, f, it):
        n = size()
        at = f(it, ctypes.byref(n))
        return ctypes.string_at(at, n.value).decode()

    def end(self):
        rocks.rocksdb_close(self.db)


bank(RocksDB)
