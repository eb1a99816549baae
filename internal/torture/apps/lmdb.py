import lmdb


class LMDB:
    def __init__(self, new):
        on = setting("sync") == "on"
        try:
            self.env = lmdb.open(data, map_size=256 << 20, sync=on, metasync=on)
        except lmdb.Error as e:
            raise OSError("lmdb: %s" % e)

    def put(self, pairs):
        with self.env.begin(write=True) as t:
            for key, value in pairs.items():
                t.put(key.encode(), value.encode())

    def all(self):
        try:
            with self.env.begin() as t:
                return {k.decode(): v.decode() for k, v in t.cursor()}
        except lmdb.Error as e:
            raise OSError("lmdb: %s" % e)

    def end(self):
        self.env.sync(True)
        self.env.close()


bank(LMDB)
