"""Where a dht may answer other bytes than redis-server: for which command, how far, and why.

Whatever is not in this table must be equal byte for byte. A judge sees both replies decoded and is asked only
when they differ; it says yes or no. `Asked` is what was asked, and a way to ask redis-server once more.
"""

from collections import namedtuple

from _resp import Error
from _requests import NAMES

Asked = namedtuple("Asked", "request relative redis")
Allowed = namedtuple("Allowed", "names judge reason")

SECONDS_APART_MAX = 2
BEYOND_SECONDS = 16_000_000_000_000
MILLISECONDS_APART_MAX = 1000 * SECONDS_APART_MAX
CLIENT_FIELDS_LEAST = {"id", "addr", "name", "age", "idle", "flags", "db", "cmd", "user", "resp"}
INFO_SECTIONS = {"server", "clients", "memory", "persistence", "stats", "cpu", "cluster", "keyspace"}
# Parameters whose values are the server's own; every other one that both know must be equal.
OWN_PARAMETERS = {b"port", b"bind", b"dir", b"maxclients", b"pidfile", b"logfile", b"appendonly", b"loglevel"}


def both_integers(theirs, ours, _):
    return type(theirs) is int and type(ours) is int and ours >= 0


def same_members(theirs, ours, _):
    return isinstance(theirs, list) and isinstance(ours, list) and sorted(theirs) == sorted(ours)


def near(most):
    def judge(theirs, ours, _):
        return (
            type(theirs) is int and type(ours) is int and min(theirs, ours) > 0 and abs(theirs - ours) <= most
        )

    return judge


def near_or_beyond(most):
    """Near, or both later than this table counts: to the microsecond in 64 bits, the year 586,000."""

    def judge(theirs, ours, asked):
        beyond = type(theirs) is int and type(ours) is int and theirs > ours > BEYOND_SECONDS * most // SECONDS_APART_MAX
        return beyond or near(most)(theirs, ours, asked)

    return judge


def both_errors(theirs, ours, _):
    return isinstance(theirs, Error) and isinstance(ours, Error)


def cut_short(theirs, ours, asked):
    return both_errors(theirs, ours, asked) and len(ours) > 128 and bytes(theirs).startswith(bytes(ours))


def keys_of_a_subcommand(theirs, ours, asked):
    about = asked.request.wire.lower()
    return isinstance(theirs, Error) and (b"\r\nobject\r\n" in about or b"\r\nmemory\r\n" in about)


def near_if_relative(most):
    def judge(theirs, ours, asked):
        return asked.relative and near(most)(theirs, ours, asked)

    return judge


def a_key_that_is_there(theirs, ours, asked):
    return (
        isinstance(theirs, bytes) and isinstance(ours, bytes) and asked.redis.ask("EXISTS", ours) == b":1\r\n"
    )


def near_in_time(theirs, ours, _):
    if not isinstance(theirs, list) or not isinstance(ours, list) or len(ours) != 2:
        return False
    return (
        ours[1].isdigit()
        and int(ours[1]) < 1_000_000
        and abs(int(theirs[0]) - int(ours[0])) <= SECONDS_APART_MAX
    )


def same_hello(theirs, ours, _):
    """The same fields in the same order; all values but those of one's own equal."""
    if not isinstance(theirs, list) or not isinstance(ours, list):
        return False
    theirs, ours = (
        value if value and isinstance(value[0], tuple) else list(zip(value[::2], value[1::2]))
        for value in (theirs, ours)
    )
    own = (b"version", b"id")
    return [pair if pair[0] not in own else pair[0] for pair in theirs] == [
        pair if pair[0] not in own else pair[0] for pair in ours
    ]


def client_lines(theirs, ours, _):
    if (
        not isinstance(theirs, bytes)
        or not isinstance(ours, bytes)
        or isinstance(theirs, Error)
        or isinstance(ours, Error)
    ):
        return False
    lines = [{word.partition("=")[0] for word in line.split(" ")} for line in ours.decode().splitlines()]
    return bool(lines) and all(CLIENT_FIELDS_LEAST <= names for names in lines)


def an_unknown_then_ok(theirs, ours, _):
    known = Error(b"ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.")
    return (
        isinstance(theirs, Error)
        and theirs.lower() == known.lower()
        and (ours == b"OK" or isinstance(ours, Error))
    )


def info_sections(theirs, ours, asked):
    if (
        not isinstance(theirs, bytes)
        or not isinstance(ours, bytes)
        or isinstance(theirs, Error)
        or isinstance(ours, Error)
    ):
        return False
    heads = [
        {line[2:].lower() for line in text.decode().splitlines() if line.startswith("# ")}
        for text in (theirs, ours)
    ]
    return heads[0] & INFO_SECTIONS <= heads[1]


def command_entries(theirs, ours, _):
    """Of each command that both describe: name, arity, first key, last key, step."""
    if not isinstance(theirs, list) or not isinstance(ours, list):
        return False
    known = {entry[0]: entry for entry in theirs if entry}
    mine = {entry[0]: entry for entry in ours if entry}
    # A subcommand, such as `client|id`, has no entry of its own here.
    expected = [bool(entry) and b"|" not in entry[0] for entry in theirs]
    if len(theirs) < 10 and expected != [bool(entry) for entry in ours]:
        return False
    at = (1, 3, 4, 5)
    return all(
        [known[name][index] for index in at] == [entry[index] for index in at]
        for name, entry in mine.items()
        if name in known
    )


def command_names(theirs, ours, _):
    return (
        isinstance(theirs, list)
        and isinstance(ours, list)
        and {name.encode() for name in NAMES} & set(theirs) <= set(ours)
    )


def command_documents(theirs, ours, _):
    if not isinstance(theirs, list) or not isinstance(ours, list):
        return False
    theirs, ours = (
        value if not value or isinstance(value[0], tuple) else list(zip(value[::2], value[1::2]))
        for value in (theirs, ours)
    )
    return len(theirs) > 10 or sorted(name for name, _ in theirs) == sorted(name for name, _ in ours)


def parameters(theirs, ours, _):
    if not isinstance(theirs, list) or not isinstance(ours, list):
        return False
    theirs, ours = (
        dict(value if not value or isinstance(value[0], tuple) else zip(value[::2], value[1::2]))
        for value in (theirs, ours)
    )
    few = len(theirs) < 5
    missing = few and set(theirs) - set(ours) or set(ours) - set(theirs)
    return not missing and all(
        theirs[name] == value for name, value in ours.items() if name not in OWN_PARAMETERS
    )


def saving(theirs, ours, _):
    """Saved, begun, or busy with the one before; ours has no --data here, and says so."""
    words = (b"OK", b"Background saving", b"ERR Background save already in progress")
    nowhere = b"ERR there is nowhere to save to: start the server with --data DIR"
    return isinstance(ours, bytes) and theirs.startswith(words) and ours.startswith((*words, nowhere))


def slow_entries(theirs, ours, _):
    return (
        isinstance(theirs, list)
        and isinstance(ours, list)
        and all(isinstance(entry, list) and len(entry) == 6 for entry in ours)
    )


TABLE = [
    Allowed(["keys"], same_members, "in no order: the keys are compared as a set"),
    Allowed(["randomkey"], a_key_that_is_there, "any key; it must be there"),
    Allowed(
        ["ttl"],
        near_or_beyond(SECONDS_APART_MAX),
        "counts down between the two requests; no time here is later than the year 586,000",
    ),
    Allowed(["client|kill"], both_errors, "of several faults another one is told"),
    Allowed(
        ["expire", "pexpire", "expireat", "pexpireat"],
        cut_short,
        "a word that an error shows is cut at 128 bytes",
    ),
    Allowed(["command|getkeys"], keys_of_a_subcommand, "subcommands are not told apart"),
    Allowed(
        ["pttl"],
        near_or_beyond(MILLISECONDS_APART_MAX),
        "counts down between the two requests; no time here is later than the year 586,000",
    ),
    Allowed(
        ["expiretime"],
        near_if_relative(SECONDS_APART_MAX),
        "set from now; exact where no time was set from now",
    ),
    Allowed(
        ["pexpiretime"],
        near_if_relative(MILLISECONDS_APART_MAX),
        "set from now; exact where no time was set from now",
    ),
    Allowed(["time"], near_in_time, "two moments"),
    Allowed(["lastsave"], both_integers, "two moments"),
    Allowed(["save", "bgsave"], saving, "whether the save before is still under way"),
    Allowed(["object|idletime"], both_integers, "counts up between the two requests"),
    Allowed(["memory|usage"], both_integers, "another allocator and another table"),
    Allowed(["hello"], same_hello, "version and id are the server's own"),
    Allowed(["client|id"], both_integers, "counts connections"),
    Allowed(
        ["client|list", "client|info"],
        client_lines,
        "addresses and counts; the fields that clients read are there",
    ),
    Allowed(
        ["client|setinfo"], an_unknown_then_ok, "new in Redis 7.2; libraries send it and ignore an error"
    ),
    Allowed(["info"], info_sections, "numbers are the server's own; the sections asked for must be there"),
    Allowed(
        ["command", "command|info"],
        command_entries,
        "fewer commands and flags; arity and key positions are equal",
    ),
    Allowed(["command|count"], both_integers, "fewer commands"),
    Allowed(["command|list"], command_names, "fewer commands; those of the contract are all there"),
    Allowed(["command|docs"], command_documents, "texts of one's own for the same commands"),
    Allowed(
        ["config|get"],
        parameters,
        "fewer parameters; equal where it is not an address or a bound of one's own",
    ),
    Allowed(["slowlog|get"], slow_entries, "what was slow"),
    Allowed(["slowlog|len"], both_integers, "what was slow"),
]


def allowed(theirs, ours, asked):
    """The reason why these two replies may differ, if there is one."""
    for entry in TABLE:
        if asked.request.name in entry.names and entry.judge(theirs, ours, asked):
            return entry.reason
    return None
