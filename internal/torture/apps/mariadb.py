class MariaDB(Server):
    def __init__(self, new):
        self.socket = os.path.join("/run/nbdbench", "mariadb-" + sys.argv[1])
        temporary = os.path.join("/run/nbdbench", "tmp-" + sys.argv[1])
        os.makedirs(temporary, exist_ok=True)
        words = ["mariadbd", "--no-defaults", "--user=root", "--datadir=" + data, "--tmpdir=" + temporary]
        if new:
            os.makedirs(data)
            subprocess.run(words + ["--bootstrap"], input=b"CREATE DATABASE bank;\n", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.start(words + ["--socket=" + self.socket, "--skip-networking", "--skip-grant-tables", "--innodb-buffer-pool-size=16M",
                            "--innodb-flush-log-at-trx-commit=" + setting("flush_log_at_trx_commit"), "--innodb-doublewrite=" + setting("doublewrite")])
        self.ready(self.connect, 120)

    def connect(self):
        self.client = subprocess.Popen(["mariadb", "--no-defaults", "-nBN", "--socket=" + self.socket, "bank"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.ask("")

    def ask(self, sql):
        try:
            self.client.stdin.write(sql + "\nSELECT 'done';\n")
            self.client.stdin.flush()
        except BrokenPipeError:
            pass
        lines = []
        for line in self.client.stdout:
            if line == "done\n":
                return lines
            lines.append(line.rstrip("\n"))
        raise OSError("mariadb: " + self.client.stderr.read())

    def put(self, pairs):
        if sys.argv[1] == "setup":
            self.ask("CREATE TABLE item(name VARCHAR(16) PRIMARY KEY, value VARCHAR(400)) ENGINE=InnoDB;")
        self.ask("BEGIN; " + " ".join("REPLACE INTO item VALUES('%s','%s');" % p for p in pairs.items()) + " COMMIT;")

    def all(self):
        return dict(line.split("\t") for line in self.ask("SELECT name, value FROM item;"))

    def end(self):
        self.client.kill()
        self.client.wait()
        Server.end(self)


bank(MariaDB)
