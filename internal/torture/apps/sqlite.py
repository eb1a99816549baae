# Bank transfers in SQLite: each is one transaction, acknowledged after its COMMIT.
import sqlite3

path = os.path.join(mount, "bank.db")


def connect():
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=" + setting("journal_mode"))
    db.execute("PRAGMA synchronous=" + setting("synchronous"))
    return db


def setup():
    db = connect()
    db.execute("CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER)")
    db.execute("CREATE TABLE transfer(id INTEGER PRIMARY KEY, source INTEGER, target INTEGER, amount INTEGER, note TEXT)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO account VALUES(?,?)", [(i, START) for i in range(ACCOUNTS)])
    db.execute("COMMIT")
    db.close()


def workload():
    db = connect()
    n = db.execute("SELECT COALESCE(MAX(id),0) FROM transfer").fetchone()[0]
    while True:
        n += 1
        source, target, amount = parts(n)
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE account SET balance=balance-? WHERE id=?", (amount, source))
        db.execute("UPDATE account SET balance=balance+? WHERE id=?", (amount, target))
        db.execute("INSERT INTO transfer VALUES(?,?,?,?,?)", (n, source, target, amount, "x" * (n % 500)))
        db.execute("COMMIT")
        os.write(3, b"%d\n" % n)


def check():
    try:
        db = connect()
        said = db.execute("PRAGMA integrity_check").fetchone()[0]
        balances = dict(db.execute("SELECT id, balance FROM account"))
        transfers = db.execute("SELECT id, source, target, amount FROM transfer ORDER BY id").fetchall()
    except sqlite3.DatabaseError as e:
        corrupt("sqlite: %s" % e)
    if said != "ok":
        corrupt("integrity_check: " + said)
    judge(balances, transfers)


{"setup": setup, "workload": workload, "check": check}[sys.argv[1]]()
