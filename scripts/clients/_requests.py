"""Requests for a Redis server, made from a seed: every command, with what is usual, at the edge, and wrong.

The hard thing is to stay comparable: two servers that get the same bytes a moment apart must owe the same answer.
So a key's time to live is either long past or far away, two times that are compared with each other are never
equal, and whatever depends on the server alone is asked for in a way that the table in compare_redis.py judges.
"""

from _resp import encoded, inline

KEYS = [b"a", b"b", b"c", b"n", b"{tag}a", b"{tag}b", b"", b"\x00\xff\r\n", b"key with space", b"A*[?]"]
# 44 and 45 bytes: on both sides of the longest string that is embedded.
TEXTS = [
    b"",
    b"x",
    b"hello",
    b"two words",
    b"\x00\x01\xfe\xff",
    b"a\r\nb",
    b"4" * 20,
    b"e" * 44,
    b"r" * 45,
    b"l" * 3000,
]
WHOLE = [b"0", b"1", b"-1", b"10", b"42", b"-7", b"9223372036854775807", b"-9223372036854775808"]
ODD = [
    b"",
    b" 1",
    b"1 ",
    b"+1",
    b"01",
    b"-0",
    b"1.0",
    b"0x10",
    b"1e3",
    b"abc",
    b"9223372036854775808",
    b"-9223372036854775809",
]
FLOATS = [
    b"0.1",
    b"0.2",
    b"3.0e3",
    b"5e-3",
    b"-0.0",
    b"1e17",
    b"1.5",
    b"-2.25",
    b"1e300",
    b"3.14159265358979",
]
ODD_FLOATS = [b"nan", b"inf", b"-inf", b"1e5000", b" 1.5", b"1.5 ", b"1,5", b"", b"abc", b"0x1p3", b"1e"]
FAR_SECONDS = [b"32503680000", b"9999999999"]
FAR_MILLISECONDS = [b"32503680000000", b"9999999999999"]
PATTERNS = [
    b"*",
    b"?",
    b"a",
    b"[a-c]",
    b"[^a]",
    b"{tag}*",
    b"*a*",
    b"\\A\\*\\[*",
    b"",
    b"**",
    b"[",
    b"[a",
    b"[c-a]",
    b"key with*",
    b"\\",
]
# One word less could end redis-server, take the memory that the rest needs, or scan from a cursor of nobody's.
NEVER_SPOILT = ["shutdown", "config", "scan"]
# The longest value, where redis-server is told the same bound as the dht has.
VALUE_BYTES_MAX = 16 * 1024 * 1024


class Request:
    """Bytes to send, and how the answer is to be read."""

    def __init__(self, name, wire, shown, how="one"):
        self.name = name
        self.wire = wire
        self.shown = shown
        # "one" reply; "several", until that of a closing ECHO; "closing", until the server closes;
        # "scan", a whole iteration; "alone", one reply that is judged by asking redis-server a second time.
        self.how = how


class Maker:
    """Chooses words. `relative` says whether times may count from now, which no two servers agree on exactly."""

    def __init__(self, random, relative):
        self.random = random
        self.relative = relative

    def one(self, *choices):
        return self.random.choice(choices)

    def chance(self, share):
        return self.random.random() < share

    def key(self):
        return self.random.choice(KEYS)

    def keys(self, most=5):
        return [self.key() for _ in range(self.random.randint(1, most))]

    def value(self):
        return self.random.choice(self.random.choice([TEXTS, WHOLE, FLOATS, ODD]))

    def pairs(self):
        return [word for key in self.keys() for word in (key, self.value())]

    def integer(self):
        return self.random.choice(ODD if self.chance(0.25) else WHOLE)

    def float(self):
        return self.random.choice(ODD_FLOATS if self.chance(0.25) else FLOATS + WHOLE)

    def position(self):
        near = b"%d" % self.random.randint(-8, 8)
        return self.random.choice([near, near, near, self.integer()])

    def offset(self):
        near = b"%d" % self.random.randint(0, 60)
        edge = b"%d" % (VALUE_BYTES_MAX + self.random.randint(-2, 2))
        return self.random.choice([near] * 20 + [b"-1", b"536870912", self.integer(), edge])

    def amount(self, per_second):
        """A time from now: never twice the same, so that GT and LT do not depend on the millisecond."""
        if self.chance(0.3):
            return self.random.choice(
                ODD
                + [b"0", b"-1", b"-100", b"9223372036854775807", b"9223372036854775", b"-9223372036854775808"]
            )
        if self.relative:
            return b"%d" % (self.random.randint(1000, 100_000_000) * per_second)
        return b"-5"

    def moment(self, per_second):
        """A time on the calendar."""
        far = FAR_SECONDS if per_second == 1 else FAR_MILLISECONDS
        return self.random.choice(far * 4 + [b"1", b"0", b"-1", b"9223372036854775807"] + ODD)

    def time_option(self):
        name = self.one("EX", "PX", "EXAT", "PXAT")
        per_second = 1000 if name[0] == "P" else 1
        return [name, self.moment(per_second) if "AT" in name else self.amount(per_second)]

    def some(self, *options):
        """A few of the options, in any order, now and then one twice or one that conflicts."""
        count = self.random.choice([0, 1, 1, 1, 2, 2, 3])
        chosen = [self.random.choice(options) for _ in range(count)]
        return [word for option in chosen for word in (option() if callable(option) else [option])]

    def cased(self, word):
        return self.one(word, word, word.lower(), word.title())

    def words(self, name, words):
        """As bytes, and now and then with a word missing, one too many, or one spoilt."""
        words = [word if isinstance(word, bytes) else self.cased(str(word)).encode() for word in words]
        if name in NEVER_SPOILT:
            return [name.upper().encode(), *words]
        if self.chance(0.06) and words:
            words.pop(self.random.randrange(len(words)))
        elif self.chance(0.06):
            words.insert(self.random.randint(0, len(words)), self.value())
        elif self.chance(0.04) and words:
            words[self.random.randrange(len(words))] = self.random.choice(ODD)
        return [self.cased(name.upper()).encode(), *words]


def set_options(m):
    return m.some("NX", "XX", "GET", "KEEPTTL", m.time_option, m.time_option)


def expire(per_second, calendar):
    def words(m):
        when = m.moment(per_second) if calendar else m.amount(per_second)
        return [m.key(), when, *(m.some("NX", "XX", "GT", "LT") if m.chance(0.5) else [])]

    return words


def one_key(m):
    return [m.key()]


def some_keys(m):
    return m.keys()


def key_and_value(m):
    return [m.key(), m.value()]


def nothing(_):
    return []


CONNECTION = {
    "ping": lambda m: m.one([], [], [m.value()]),
    "echo": lambda m: [m.value()],
    "hello": lambda m: m.one(
        [],
        ["2"],
        ["3"],
        ["4"],
        ["1"],
        [m.integer()],
        ["3", "SETNAME", m.value()],
        ["2", "AUTH", "default", "secret"],
        ["3", "AUTH", "nobody", "secret"],
        ["3", "AUTH", "default", "x", "SETNAME", "me"],
        ["2", "NOSUCH"],
        ["3", "AUTH", "default"],
    ),
    "auth": lambda m: m.one(["secret"], ["default", "secret"], ["nobody", "secret"], ["a", "b", "c"]),
    "select": lambda m: [m.one(b"0", b"0", b"1", b"-1", b"99999", m.integer())],
    "reset": nothing,
    "client|id": nothing,
    "client|getname": nothing,
    "client|setname": lambda m: [m.one(b"me", b"", b"two words", b"a\nb", b"~tilde~", b"\xff")],
    "client|setinfo": lambda m: [
        m.one("LIB-NAME", "LIB-VER", "NOSUCH"),
        m.one(b"lib", b"1.2.3", b"two words"),
    ],
    "client|list": lambda m: m.one(
        [],
        [],
        ["TYPE", "normal"],
        ["TYPE", "nosuch"],
        ["ID", "0"],
        ["ID", "abc"],
        ["NOSUCH"],
        ["TYPE", "pubsub"],
        ["TYPE", "replica"],
    ),
    "client|info": nothing,
    "client|kill": lambda m: m.one(
        ["ID", "99999999"],
        ["ADDR", "1.2.3.4:5"],
        ["LADDR", "1.2.3.4:5"],
        ["TYPE", "nosuch"],
        ["TYPE", "pubsub"],
        ["ID", "abc"],
        ["ID", "0"],
        ["1.2.3.4:5"],
        ["USER", "nobody"],
        ["USER", "default", "ID", "99999999"],
        ["SKIPME", "maybe"],
        ["NOSUCH", "x"],
        ["ID", "99999999", "SKIPME", "yes"],
    ),
    "client|no-evict": lambda m: [m.one("ON", "OFF", "MAYBE")],
    "client|reply": lambda m: [m.one("ON", "ON", "MAYBE")],
    "client|nosuch": nothing,
    "command": nothing,
    "command|count": nothing,
    "command|docs": lambda m: m.one([], ["get"], ["get", "SET"], ["nosuch"]),
    "command|info": lambda m: m.one(
        [m.random.choice(NAMES)], [m.random.choice(NAMES), "nosuch"], ["client|id"], []
    ),
    "command|list": lambda m: m.one(
        [],
        [],
        ["FILTERBY", "PATTERN", b"xx*"],
        ["FILTERBY", "PATTERN", b"get"],
        ["FILTERBY", "ACLCAT", "nosuch"],
        ["FILTERBY", "MODULE", "nosuch"],
        ["FILTERBY"],
        ["NOSUCH"],
    ),
    "command|getkeys": lambda m: m.one(
        ["get", "k"],
        ["mset", "a", "1", "b", "2"],
        ["set", "k", "v", "EX", "1"],
        ["del", "a", "b", "c"],
        ["ping"],
        ["nosuch", "k"],
        ["get"],
        ["copy", "a", "b"],
        ["rename", "a", "b"],
        ["mget"],
        ["object", "encoding", "k"],
        ["memory", "usage", "k"],
        ["getex", "k", "EX", "1"],
        ["exists", "a"],
    ),
    "command|nosuch": nothing,
}

STRINGS = {
    "get": one_key,
    "set": lambda m: [m.key(), m.value(), *set_options(m)],
    "setnx": key_and_value,
    "setex": lambda m: [m.key(), m.amount(1), m.value()],
    "psetex": lambda m: [m.key(), m.amount(1000), m.value()],
    "getset": key_and_value,
    "getdel": one_key,
    "getex": lambda m: [m.key(), *m.some("PERSIST", m.time_option, m.time_option)],
    "mget": some_keys,
    "mset": lambda m: m.pairs(),
    "msetnx": lambda m: m.pairs(),
    "append": key_and_value,
    "strlen": one_key,
    "getrange": lambda m: [m.key(), m.position(), m.position()],
    "setrange": lambda m: [m.key(), m.offset(), m.random.choice(TEXTS)],
    "incr": one_key,
    "decr": one_key,
    "incrby": lambda m: [m.key(), m.integer()],
    "decrby": lambda m: [m.key(), m.integer()],
    "incrbyfloat": lambda m: [m.key(), m.float()],
}

KEYSPACE = {
    "del": some_keys,
    "unlink": some_keys,
    "exists": some_keys,
    "touch": some_keys,
    "type": one_key,
    "expire": expire(1, False),
    "pexpire": expire(1000, False),
    "expireat": expire(1, True),
    "pexpireat": expire(1000, True),
    "ttl": one_key,
    "pttl": one_key,
    "expiretime": one_key,
    "pexpiretime": one_key,
    "persist": one_key,
    "keys": lambda m: [m.random.choice(PATTERNS)],
    "scan": lambda m: m.one(
        ["abc"],
        ["9" * 30],
        ["0", "COUNT", "0"],
        ["0", "COUNT", "-1"],
        ["0", "COUNT", "abc"],
        ["0", "NOSUCH"],
        ["0", "MATCH"],
        ["0", "COUNT", "5", "NOSUCH", "x"],
        [m.one(b"", b" 1", b"1.0", b"abc"), "COUNT", "0"],
    ),
    "randomkey": nothing,
    "rename": lambda m: [m.key(), m.key()],
    "renamenx": lambda m: [m.key(), m.key()],
    "copy": lambda m: [
        m.key(),
        m.key(),
        *(
            m.some("REPLACE", lambda: ["DB", m.one(b"0", b"0", b"1", b"-1", b"abc")], "NOSUCH")
            if m.chance(0.6)
            else []
        ),
    ],
    "dbsize": nothing,
    "flushdb": lambda m: m.one([], ["ASYNC"], ["SYNC"], ["NOSUCH"]),
    "flushall": lambda m: m.one([], ["ASYNC"], ["SYNC"], ["NOSUCH"]),
    "object|encoding": one_key,
    "object|freq": one_key,
    "object|idletime": one_key,
    "object|nosuch": one_key,
}

SERVER = {
    "info": lambda m: m.one(
        [],
        ["server"],
        ["clients", "memory"],
        ["keyspace"],
        ["nosuch"],
        ["everything"],
        ["default"],
        ["ALL"],
        ["stats", "cpu"],
        ["persistence"],
        ["cluster"],
    ),
    "config|get": lambda m: m.one(
        ["maxmemory"],
        ["maxmemory-policy"],
        ["save"],
        ["appendonly"],
        ["databases"],
        ["timeout"],
        ["proto-max-bulk-len"],
        ["nosuch"],
        ["maxmemory", "timeout"],
        ["maxmemory", "MAXMEMORY"],
        ["maxm*"],
        ["*"],
    ),
    "config|set": lambda m: m.one(
        ["maxmemory", m.one("0", "1gb", "1GB", "500mb", "2000000000", "abc", "-1", "1xb")],
        [
            "maxmemory-policy",
            m.one("noeviction", "allkeys-lru", "volatile-lru", "allkeys-random", "volatile-ttl", "nosuch"),
        ],
        ["nosuch", "1"],
        ["maxmemory"],
        ["maxmemory", "0", "nosuch", "1"],
        ["maxmemory", "0", "maxmemory", "1gb"],
        ["databases", "4"],
        ["maxmemory", "0", "maxmemory-policy", "noeviction"],
        ["maxclients", "abc"],
        ["maxclients", "0"],
    ),
    "config|resetstat": nothing,
    "config|nosuch": nothing,
    "time": nothing,
    "memory|usage": lambda m: m.one(
        [m.key()],
        [m.key()],
        [m.key(), "SAMPLES", "5"],
        [m.key(), "SAMPLES", "-1"],
        [m.key(), "SAMPLES", "abc"],
        [m.key(), "NOSUCH", "1"],
    ),
    "memory|nosuch": nothing,
    "slowlog|get": lambda m: m.one([], ["5"], ["-1"], ["-2"], ["abc"]),
    "slowlog|len": nothing,
    "slowlog|reset": nothing,
    "slowlog|nosuch": nothing,
    "shutdown": lambda m: m.one(["NOSUCH"], ["SAVE", "NOSAVE"], ["ABORT"], ["ABORT", "NOSAVE"]),
    "wait": lambda m: m.one(
        ["0", "0"], ["0", "100"], ["1", "1"], ["0", "-1"], ["abc", "0"], ["0", "abc"], ["-1", "10"]
    ),
    "save": nothing,
    "bgsave": lambda m: m.one([], ["SCHEDULE"], ["NOSUCH"]),
    "lastsave": nothing,
    "nosuch": lambda m: m.one([], ["one"], ["one", b"t\r\nwo"], [b"x" * 200], ["a"] * 40),
}

COMMANDS = {**CONNECTION, **STRINGS, **KEYSPACE, **SERVER}
NAMES = sorted({name.split("|")[0] for name in COMMANDS if "nosuch" not in name})

# Alone in a batch, because more or less than one reply comes, or because the reply is judged by a second question.
CLOSING = [
    b"QUIT\r\n",
    b"*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n:3\r\n",
    b"*abc\r\n",
    b"*1\r\n$abc\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n\r\n",
    b"*99999999999\r\n",
    b'SET k "unbalanced\r\n',
    b"SET k 'x'y\r\n",
    b"PING\r\n*2\r\n$4\r\nECHO\r\nabc\r\n",
    b"\r\n*0\r\n*-1\r\nPING\r\nQUIT\r\n",
    b"PING\nQUIT\n",
]
REPLY_MODES = [
    [["CLIENT", "REPLY", "SKIP"], ["PING"], ["ECHO", "seen"]],
    [["CLIENT", "REPLY", "OFF"], ["PING"], ["SET", "k", "v"], ["CLIENT", "REPLY", "ON"], ["GET", "k"]],
    [
        ["CLIENT", "REPLY", "OFF"],
        ["NOSUCH"],
        ["CLIENT", "REPLY", "SKIP"],
        ["PING"],
        ["CLIENT", "REPLY", "ON"],
        ["PING"],
    ],
]


def shown(words):
    return " ".join(
        repr(word)[1:] if len(word) < 60 else f"{word[:40]!r}... ({len(word)} bytes)" for word in words
    )


def request(random, relative, name):
    """One request of that command."""
    maker = Maker(random, relative)
    command, _, subcommand = name.partition("|")
    made = COMMANDS[name](maker)
    if command == "scan" and maker.chance(0.8):
        return iteration(maker)
    words = maker.words(command, [*([subcommand.upper()] if subcommand else []), *made])
    if subcommand and (len(words) < 2 or words[1].lower() != subcommand.encode()):
        name = command
    how = "alone" if command == "randomkey" and len(words) == 1 else "one"
    wire = inline(words) if maker.chance(0.1) else encoded(words)
    return Request(name, wire, shown(words), how)


def iteration(m):
    """SCAN from 0 until 0, with options that are right."""
    options = m.some(
        lambda: ["MATCH", m.random.choice(PATTERNS)],
        lambda: ["COUNT", m.one(b"1", b"2", b"10", b"1000")],
        lambda: ["TYPE", m.one("string", "hash")],
    )
    words = [word if isinstance(word, bytes) else m.cased(word).encode() for word in options]
    scan = Request("scan", None, f"'SCAN' from 0 until 0 {shown(words)}", "scan")
    scan.options = words
    return scan


def strange(random):
    """A request whose replies are not one."""
    if random.random() < 0.5:
        wire = random.choice(CLOSING)
        return Request("quit" if b"QUIT" in wire else "(protocol)", wire, repr(wire), "closing")
    lines = [[word.encode() for word in line] for line in random.choice(REPLY_MODES)]
    return Request("client|reply", b"".join(map(encoded, lines)), "; ".join(map(shown, lines)), "several")
