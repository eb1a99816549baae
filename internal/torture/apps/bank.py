# Bank transfers, what all presets share: each is one transaction, acknowledged after the
# program calls it durable. The check wants all acknowledged transfers, in order, and
# balances that agree with them. A store of keys and values, for bank, has put(dict), atomic
# and durable, all() and end().
import base64, ctypes, http.client, json, os, shutil, signal, socket, subprocess, sys, time

ACCOUNTS, START = 20, 1000
mount = os.environ["NBDBENCH_MOUNT"]
data = os.path.join(mount, "data")


def setting(name):
    return os.environ["SET_" + name.upper()]


def parts(n):
    return n * 7919 % ACCOUNTS, (n * 104729 + 1) % ACCOUNTS, n % 10 + 1


def corrupt(what):
    print(what)
    sys.exit(2)


def judge(balances, transfers):
    acked = [int(x) for x in open(os.environ["NBDBENCH_ACKED"]).read().split()]
    want = {i: START for i in range(ACCOUNTS)}
    for k, transfer in enumerate(transfers, 1):
        if transfer != (k,) + parts(k):
            corrupt("transfer %d is not the one made: %s" % (k, transfer))
        source, target, amount = parts(k)
        want[source] -= amount
        want[target] += amount
    if balances != want:
        corrupt("the balances do not agree with the %d transfers" % len(transfers))
    last = acked[-1] if acked else 0
    if last > len(transfers):
        print("lost=%d" % (last - len(transfers)))
        print("%d transfers were acknowledged, %d are there" % (last, len(transfers)))
        sys.exit(1)


def content(store):
    balances, transfers = {}, []
    for key, value in store.all().items():
        if key.startswith("a"):
            balances[int(key[1:])] = int(value)
        elif key.startswith("t"):
            transfers.append((int(key[1:]),) + tuple(int(x) for x in value.split()[:3]))
    return balances, sorted(transfers)


def bank(store):
    what = sys.argv[1]
    if what == "setup":
        s = store(True)
        s.put({"a%03d" % i: str(START) for i in range(ACCOUNTS)})
        s.end()
        return
    try:
        s = store(False)
        balances, transfers = content(s)
    except (OSError, ValueError, http.client.HTTPException) as e:
        if what == "check":
            corrupt(str(e))
        raise
    if what == "check":
        s.end()
        judge(balances, transfers)
        return
    n = len(transfers)
    while True:
        n += 1
        source, target, amount = parts(n)
        balances[source] -= amount
        balances[target] += amount
        s.put({"a%03d" % source: str(balances[source]), "a%03d" % target: str(balances[target]),
               "t%08d" % n: "%d %d %d %s" % (source, target, amount, "x" * (n % 300))})
        os.write(3, b"%d\n" % n)


class Server:
    """A server process, which ends with this one."""

    def start(self, words):
        def parent_ends():
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

        self.log = open(os.path.join("/run/nbdbench", "said-" + sys.argv[1]), "w+b")
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log, preexec_fn=parent_ends)

    def ready(self, try_it, seconds=60):
        end = time.monotonic() + seconds
        while True:
            try:
                return try_it()
            except OSError as e:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.log.seek(0)
                    raise OSError("the server did not start: %s: %s" % (e, self.log.read()[-1500:].decode(errors="replace")))
                time.sleep(0.02)

    def end(self):
        if sys.argv[1] == "setup":
            self.process.terminate()
        else:
            self.process.kill()
        self.process.wait()
