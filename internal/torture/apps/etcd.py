class Etcd(Server):
    def __init__(self, new):
        with socket.socket() as a, socket.socket() as b:
            a.bind(("127.0.0.1", 0))
            b.bind(("127.0.0.1", 0))
            client, peer = a.getsockname()[1], b.getsockname()[1]
        self.port = client
        url, peers = "http://127.0.0.1:%d" % client, "http://127.0.0.1:%d" % peer
        self.start(["etcd", "--name", "one", "--data-dir", data, "--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peers,
                    "--initial-advertise-peer-urls", peers, "--initial-cluster", "one=" + peers, "--heartbeat-interval", "20", "--election-timeout", "200", "--logger", "zap"])
        self.ready(self.connect)

    def connect(self):
        self.http = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            self.all()
        except (http.client.HTTPException, ValueError) as e:
            raise OSError(str(e))

    def ask(self, path, body):
        self.http.request("POST", "/v3/kv/" + path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self.http.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise OSError("etcd: %d %s" % (answer.status, text[:200]))
        return json.loads(text)

    def put(self, pairs):
        code = lambda s: base64.b64encode(s.encode()).decode()
        self.ask("txn", {"success": [{"requestPut": {"key": code(k), "value": code(v)}} for k, v in pairs.items()]})

    def all(self):
        everything = base64.b64encode(b"\0").decode()
        found = self.ask("range", {"key": everything, "range_end": everything}).get("kvs", [])
        return {base64.b64decode(p["key"]).decode(): base64.b64decode(p.get("value", "")).decode() for p in found}


bank(Etcd)
