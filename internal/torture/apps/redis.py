class Redis(Server):
    def __init__(self, new):
        path = os.path.join("/run/nbdbench", "redis-" + sys.argv[1])
        if os.path.exists(path):
            os.remove(path)
        os.makedirs(data, exist_ok=True)
        self.start(["redis-server", "--dir", data, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "yes", "--appendfsync", setting("appendfsync")])
        self.ready(lambda: self.connect(path))

    def connect(self, path):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        self.file = s.makefile("rwb")
        if self.ask("PING") != "PONG":
            raise OSError("it is loading")

    def ask(self, *words):
        self.file.write(b"*%d\r\n" % len(words))
        for w in map(str.encode, words):
            self.file.write(b"$%d\r\n%s\r\n" % (len(w), w))
        self.file.flush()
        return self.reply()

    def reply(self):
        line = self.file.readline()[:-2].decode()
        if not line:
            raise OSError("redis-server has ended")
        kind, rest = line[0], line[1:]
        if kind == "-":
            raise OSError("redis: " + rest)
        if kind == "$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == "*":
            return [self.reply() for _ in range(int(rest))]
        return rest

    def put(self, pairs):
        self.ask("MSET", *[w for pair in pairs.items() for w in pair])

    def all(self):
        keys = self.ask("KEYS", "*")
        return dict(zip(keys, self.ask("MGET", *keys))) if keys else {}


bank(Redis)
