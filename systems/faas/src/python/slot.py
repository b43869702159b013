"""The Python side of a worker: a zygote that forks slots, and the slots, which run functions.

The worker starts this file once (`python3 -c`, Python 3.8 or newer) and writes one line of JSON to its standard
input. The zygote imports what the operator named and then forks a process for each slot, so that a slot begins warm.
It waits in poll(2), a slot in recv(2): who has nothing to do costs nothing.

Zygote, lines:    < start LAUNCH SECRET   < kill LAUNCH
                  > ready {json}   > ended LAUNCH exit|signal N   > gone LAUNCH   > unstarted LAUNCH WORDS
Slot, over the worker's unix socket, little-endian, each record behind its length (4):
                  > LAUNCH (8) SECRET (16)
                  < task (16) attempt (4) function (16) flags (1) code's length (4) code, arguments
                  > task (16) attempt (4) outcome (1) kind (1) retires (1) ran, in us (8), lengths of words (2) and of
                    what was printed (4), both, and the pickled value or exception

The hard thing is that user code can do anything to its process. So nothing that others need lives here: the worker
believes no record it does not expect, ends the slot that says one, and forks another.
"""

import builtins
import ctypes
import errno
import io
import json
import os
import pickle
import resource
import select
import signal
import socket
import stat
import struct
import sys
import time
import types

TASK = struct.Struct("<16sI16sBI")
REPORT = struct.Struct("<16sIBBBQHI")
LENGTH = struct.Struct("<I")

COMPLETED, FAILED = 0, 1
RAISED, FUNCTION, ARGUMENTS, RESULT, OUTPUT = 1, 2, 3, 4, 8
HAS_CODE, FORGET_OTHERS = 1, 2

PROTOCOL = 4  # The newest that every Python 3 in use reads: clients may be older than we are.
WORDS_MAX = 4096
PRINTED_MAX = 8 * 1024
READ = 64 * 1024
LINE_MAX = 4000  # With its end still one whole write to a pipe, whoever else writes.
HEARD, SAID = 502, 503  # The zygote's standard input and output; preloaded modules get others.
LOST = 113  # The exit status of a slot whose way to the worker was closed by user code.
CONN, PRINTED = 500, 501  # Descriptors of ours in a slot, out of the way of those that user code counts on.

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_CHILD_SUBREAPER = 1, 8, 36
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 38, 47, 2
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CAP_DAC_READ_SEARCH = 2

libc = ctypes.CDLL(None, use_errno=True)
dill = None


def call(name, *args):
    """A call of the C library; what fails raises."""
    args = [ctypes.c_ulong(arg) if isinstance(arg, int) else arg for arg in args]
    if getattr(libc, name)(*args) < 0:
        code = ctypes.get_errno()
        raise OSError(code, "%s: %s" % (name, os.strerror(code)))


def words_of(error):
    """An exception as one sentence, whatever its own methods do."""
    try:
        text = str(error)
    except BaseException:
        text = "(its text cannot be had)"
    name = type(error).__name__
    return ("%s: %s" % (name, text) if text else name)[:WORDS_MAX]


# ---------------------------------------------------------------------------------------------------------------------
# The zygote.


class Zygote:
    def __init__(self, config):
        self.config = config
        self.launches = {}  # process -> launch
        self.pids = {}  # launch -> process
        self.jails = set()
        self.remarks = []
        self.keeps_search = False

    def prepare(self):
        """Imports what was named. What cannot be imported ends us: an operator who names it needs it."""
        global dill
        sys.path[:] = self.config["pythonpath"] + [place for place in sys.path if place]
        ours = sys.modules["__main__"]
        main = types.ModuleType("__main__")
        main.__builtins__ = builtins
        sys.modules["__main__"], sys.modules["ringwise_slot"] = main, ours
        try:
            import dill as found

            dill = found
            guard_code(dill)
        except ImportError:
            pass
        for name in self.config["preload"]:
            try:
                __import__(name)
            except BaseException as error:
                return "--preload %s: %s" % (name, words_of(error))
        return None

    def look_at_jails(self):
        """Which jails hold, found out by a process that tries them and ends."""
        jail = {"no-new-privileges", "memory", "file-size", "cpu", "empty-directory"}
        jail -= {name for name in ("memory", "file-size", "cpu") if not self.config[name.replace("-", "_")]}
        self.jails = jail
        found = tried(self.try_jails)
        self.keeps_search = found.get("keeps_search", False)
        for name, words in found.items():
            if words is True and name != "keeps_search":
                self.jails.add(name)
            elif isinstance(words, str):
                self.remarks.append("%s: %s" % (name, words))
        if self.keeps_search:
            self.remarks.append("own-user: it may read every file, because others may not read this Python")
        if "own-user" in self.jails and self.config["processes"]:
            self.jails.add("processes")
        elif self.config["processes"]:
            self.remarks.append("processes: needs own-user")
        if "user-namespace" in self.jails:
            self.jails.discard("user-namespace")
            own_user_namespace()
        if self.config["network"]:
            self.jails.discard("no-network")
            self.remarks.append("no-network: granted")
        elif "no-network" in self.jails:
            call("unshare", CLONE_NEWNET)

    def try_jails(self):
        found = {}
        if os.geteuid() != 0:
            found["own-user"] = "not started as root"
            try:
                own_user_namespace()
                found["user-namespace"] = True
            except OSError as error:
                why = "not started as root, and no user namespace: %s" % error
                return dict(found, **{"own-processes": why, "no-network": why})
        for name, flag in (("own-processes", CLONE_NEWPID), ("no-network", CLONE_NEWNET)):
            try:
                call("unshare", flag)
                if flag == CLONE_NEWPID:
                    back_to_own_pids()
                found[name] = True
            except OSError as error:
                found[name] = str(error)
        if "own-user" not in found:
            places = [place for place in sys.path + [os.__file__] if os.path.exists(place)]
            try:
                become(self.config["user_base"], False)
                found["own-user"] = True
                for place in places:
                    try:
                        os.stat(os.path.join(place, "")) if os.path.isdir(place) else open(place).close()
                        os.path.isdir(place) and os.listdir(place)
                    except OSError:
                        found["keeps_search"] = True
            except OSError as error:
                found["own-user"] = str(error)
        return found

    def serve(self):
        wake, waker = os.pipe()
        for end in (wake, waker):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(HEARD, select.POLLIN)
        poll.register(wake, select.POLLIN)
        held = b""
        while True:
            for end, _ in poll.poll():
                if end == wake:
                    while read_some(wake):
                        pass
                    continue
                more = os.read(HEARD, READ)
                if not more:
                    return self.end()
                *lines, held = (held + more).split(b"\n")
                for line in lines:
                    self.obey(line.split())
            self.reap()

    def obey(self, line):
        launch = int(line[1])
        if line[0] == b"kill":
            if launch in self.pids:
                end_group(self.pids[launch])
            return
        try:
            pid = self.fork(launch, bytes.fromhex(line[2].decode()))
        except (OSError, MemoryError) as error:
            return say("unstarted %d %s" % (launch, words_of(error)))
        self.pids[launch], self.launches[pid] = pid, launch

    def fork(self, launch, secret):
        place = os.path.join(self.config["directory"], str(launch))
        os.mkdir(place, 0o700)
        user = self.config["user_base"] + launch % 65536
        if "own-user" in self.jails:
            os.chown(place, user, user)
        is_alone = "own-processes" in self.jails
        if is_alone:
            call("unshare", CLONE_NEWPID)
        try:
            pid = os.fork()
        finally:
            if is_alone and os.getpid() == self.config["pid"]:
                back_to_own_pids()
        if pid:
            return pid
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
            if is_alone:
                be_first(launch)  # Returns in the slot.
            Slot(self, launch, secret, place, user).live()
        except BaseException as error:
            os.write(2, ("slot %d: %s\n" % (launch, words_of(error))).encode(errors="replace"))
        finally:
            os._exit(1)

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            launch = self.launches.pop(pid, None)
            if launch is None:
                continue
            del self.pids[launch]
            if "own-processes" not in self.jails:
                end_group(pid)
                self.end_strays()
                say("ended %d %s" % (launch, status_words(status)))
            empty(os.path.join(self.config["directory"], str(launch)), is_whole=True)
            say("gone %d" % launch)

    def end_strays(self):
        """Whoever left the group of its slot has become our child when the slot ended."""
        try:
            with open("/proc/self/task/%d/children" % os.getpid()) as file:
                pids = [int(pid) for pid in file.read().split()]
        except OSError:
            return
        for pid in pids:
            if pid not in self.launches:
                end_group(pid)

    def end(self):
        for pid in self.launches:
            end_group(pid)
        os._exit(0)


def read_some(end):
    try:
        return os.read(end, 4096)
    except BlockingIOError:
        return b""


def say(line):
    os.write(SAID, line.replace("\n", " ").encode(errors="replace")[:LINE_MAX] + b"\n")


def status_words(status):
    return "signal %d" % os.WTERMSIG(status) if os.WIFSIGNALED(status) else "exit %d" % os.WEXITSTATUS(status)


def end_group(pid):
    for end in (os.killpg, os.kill):
        try:
            end(pid, signal.SIGKILL)
        except OSError:
            pass


def back_to_own_pids():
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        call("setns", own, CLONE_NEWPID)
    finally:
        os.close(own)


def own_user_namespace():
    user, group = os.geteuid(), os.getegid()
    call("unshare", CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", "%d %d 1" % (user, user)), ("gid_map", "%d %d 1" % (group, group))):
        with open("/proc/self/" + name, "w") as file:
            file.write(text)


def tried(work):
    """What `work` finds in a process of its own: no trace of it stays here."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(theirs, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as file:
        text = file.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else {"own-user": "it could not be tried"}


def be_first(launch):
    """The first process of a slot's own process ids: when it ends, the kernel ends all the others. It has nothing to
    do but to see the slot end, and to bury those whom user code left behind."""
    slot = os.fork()
    if slot == 0:
        call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != 1:
            os._exit(1)
        os.setsid()
        return
    try:
        os.close(HEARD)
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == slot:
                say("ended %d %s" % (launch, status_words(status)))
                break
    finally:
        os._exit(0)


def become(user, keeps_search):
    """Gives up root. `keeps_search`: may still read where others may not (this Python may lie there)."""
    if keeps_search:
        call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if keeps_search:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        bit = 1 << CAP_DAC_READ_SEARCH
        call("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)))
        call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0)


def empty(place, is_whole=False):
    """Removes all that lies in a directory, without following links; then, if asked, the directory."""
    try:
        entries = list(os.scandir(place))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, 0o700)
                empty(entry.path, is_whole=True)
            else:
                os.unlink(entry.path)
        except OSError:
            pass
    if is_whole:
        try:
            os.rmdir(place)
        except OSError:
            pass


# ---------------------------------------------------------------------------------------------------------------------
# What is pickled.


class Unloadable(Exception):
    """Bytes that cannot be loaded here, with a sentence that says why."""


def loads(data):
    """The C pickle reads nearly all that dill writes, twice as fast; dill reads the rest."""
    try:
        return pickle.loads(data)
    except Exception:
        if dill is None:
            raise
        return dill.loads(data)


def dumps(value):
    try:
        return pickle.dumps(value, PROTOCOL)
    except Exception:
        if dill is None:
            raise
        return dill.dumps(value, PROTOCOL)


def load_function(code):
    try:
        function = loads(code)
    except Unloadable as error:
        raise error
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "dill":
            why = "it was pickled by dill, which this Python does not have: pip install dill"
        else:
            why = "%s (is its module on the worker's --pythonpath?)" % words_of(error)
        raise Unloadable(why)
    except BaseException as error:
        why = words_of(error)
        if b"_create_code" in bytes(code):
            why += " (a function pickled by value needs the Python it was pickled by)"
        raise Unloadable(why)
    if not callable(function):
        raise Unloadable("it is no function but %s" % type(function).__name__)
    return function


def guard_code(dill):
    """Code made for another Python crashes this one, so dill's way of making code looks at it first."""
    plain = dill._dill._create_code

    def _create_code(*args):
        why = foreign(args if isinstance(args[0], int) else args[1:])
        if why:
            ours = "%d.%d" % sys.version_info[:2]
            raise Unloadable(
                "it was pickled by another Python (%s) and this is Python %s: "
                "a function pickled by value needs the minor version it was pickled by" % (why, ours)
            )
        return plain(*args)

    _create_code.__module__, _create_code.__qualname__ = plain.__module__, plain.__qualname__
    dill._dill._create_code = _create_code


def foreign(args):
    """Why these arguments of a code object were not made by this minor version, as far as that can be seen."""
    layouts = {15: "3.7 or older", 16: "3.8 to 3.10", 18: "3.11 or newer"}
    ours = 18 if sys.version_info >= (3, 11) else 16 if sys.version_info >= (3, 8) else 15
    if len(args) != ours:
        return layouts.get(len(args), "unknown")
    if ours != 18 or not isinstance(args[6], bytes):
        return None
    return foreign_steps(args[6])


def foreign_steps(code):
    import dis
    import opcode

    caches = getattr(opcode, "_inline_cache_entries", None)
    begins = {"RESUME", "COPY_FREE_VARS", "MAKE_CELL", "RETURN_GENERATOR", "EXTENDED_ARG"}
    if code and opcode.opname[code[0]] not in begins:
        return "it begins with %s" % opcode.opname[code[0]]
    at = 0
    while at < len(code):
        name = opcode.opname[code[at]]
        if name.startswith("<"):
            return "an unknown instruction, %d" % code[at]
        count = 0
        if isinstance(caches, dict):
            count = caches.get(name, 0)
        elif caches is not None:
            count = caches[code[at]]
        at += 2
        # What follows is scratch space, and zero, in code of this version; in that of another it may be code.
        if any(code[at : at + 2 * count]) or at + 2 * count > len(code):
            return "%s has another length there" % name
        at += 2 * count
    return None


def load_arguments(payload):
    try:
        pair = loads(payload)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "dill":
            raise Unloadable("they were pickled by dill, which this Python does not have: pip install dill")
        raise Unloadable("%s (is its module on the worker's --pythonpath?)" % words_of(error))
    except Unloadable as error:
        raise error
    except BaseException as error:
        raise Unloadable(words_of(error))
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise Unloadable("they are no pair of a tuple and a dict but %s" % type(pair).__name__)
    args, kwargs = pair
    if not isinstance(args, (tuple, list)) or not isinstance(kwargs, dict):
        names = type(args).__name__, type(kwargs).__name__
        raise Unloadable("they are no tuple and dict but %s and %s" % names)
    return args, kwargs


def pickled_exception(error):
    """The exception itself where it can be pickled and loaded again, else one that says its type and text."""
    try:
        data = dumps(error)
        if isinstance(loads(data), BaseException):
            return data
    except BaseException:
        pass
    return pickle.dumps(RuntimeError(words_of(error)), PROTOCOL)


# ---------------------------------------------------------------------------------------------------------------------
# A slot.


class Print(io.FileIO):
    """Standard output, up to a bound."""

    left = 0

    def write(self, data):
        if self.left >= 0:
            self.left -= len(data)
            if self.left < 0:
                raise OSError(errno.EFBIG, "a task may not print that much")
            return super().write(data)
        return len(data)


class Slot:
    def __init__(self, zygote, launch, secret, place, user):
        self.config, self.jails, self.keeps_search = zygote.config, zygote.jails, zygote.keeps_search
        self.launch, self.secret, self.place, self.user = launch, secret, place, user
        self.functions = {}
        self.is_child = False
        self.retires = False

    def live(self):
        self.open()
        self.go_to_jail()
        self.conn.sendall(LENGTH.pack(24) + struct.pack("<Q", self.launch) + self.secret)
        self.pid = os.getpid()
        os.register_at_fork(after_in_child=self.after_fork)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()  # Else every slot would draw what the zygote would have drawn.
        self.stat = self.stat_place()
        self.limit = sys.getrecursionlimit()
        for record in self.records():
            try:
                self.run(record)
            except OSError:
                os._exit(LOST)
            if self.retires:
                break
        os._exit(0)

    def open(self):
        """The way to the worker, and where output goes; no descriptor of the zygote's is left."""
        conn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        conn.connect(self.config["socket"])
        printed = os.memfd_create("printed", os.MFD_CLOEXEC)
        import fcntl

        fcntl.fcntl(printed, fcntl.F_SETFL, os.O_RDWR | os.O_APPEND)
        os.dup2(conn.fileno(), CONN, inheritable=False)
        os.dup2(printed, PRINTED, inheritable=False)
        nothing = os.open("/dev/null", os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.closerange(3, CONN)
        os.closerange(PRINTED + 1, 1024)
        conn.detach()
        self.conn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=CONN)
        sys.stdin = open(0, closefd=False)
        self.open_prints()

    def open_prints(self):
        out, error = Print(1, "wb", closefd=False), Print(2, "wb", closefd=False)
        out.left = error.left = self.config["output"]
        self.out = io.TextIOWrapper(io.BufferedWriter(out), "utf-8", "backslashreplace")
        self.error = io.TextIOWrapper(io.BufferedWriter(error), "utf-8", "backslashreplace", line_buffering=True)
        sys.stdout = sys.__stdout__ = self.out
        sys.stderr = sys.__stderr__ = self.error

    def go_to_jail(self):
        os.chdir(self.place)
        os.umask(0o077)
        for name, which in (
            ("memory", resource.RLIMIT_AS),
            ("file_size", resource.RLIMIT_FSIZE),
            ("cpu", resource.RLIMIT_CPU),
            ("processes", resource.RLIMIT_NPROC),
        ):
            bound = self.config[name]
            if bound and name.replace("_", "-") in self.jails:
                most = resource.getrlimit(which)[1]
                bound = bound if most == resource.RLIM_INFINITY else min(bound, most)
                # Processor time is given anew to each task, by the soft limit.
                resource.setrlimit(which, (bound, most if name == "cpu" else bound))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if "own-user" in self.jails:
            become(self.user, self.keeps_search)
        call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # Forgotten by the kernel when the user changes.
        call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
        os.environ["HOME"] = os.environ["TMPDIR"] = self.place
        os.environ["FAAS_TASK_ID"] = os.environ["FAAS_ATTEMPT"] = ""
        self.cpu = self.config["cpu"] if "cpu" in self.jails else 0
        self.cpu_until = 0.0

    def after_fork(self):
        self.is_child = True
        try:
            os.close(CONN)
        except OSError:
            pass

    def records(self):
        """What the worker sends, record by record. A long one is received into a buffer of its own."""
        conn, held, at = self.conn, b"", 0
        while True:
            left = len(held) - at
            if left >= 4:
                end = at + 4 + LENGTH.unpack_from(held, at)[0]
                if end <= len(held):
                    record, at = memoryview(held)[at + 4 : end], end
                    yield record
                    continue
                if end - at > READ:
                    whole = memoryview(bytearray(end - at))
                    whole[:left] = memoryview(held)[at:]
                    while left < len(whole):
                        got = conn.recv_into(whole[left:])
                        if got == 0:
                            return
                        left += got
                    held, at = b"", 0
                    yield whole[4:]
                    continue
            more = conn.recv(READ)
            if not more:
                return
            held, at = (held[at:] + more if left else more), 0

    def run(self, record):
        task, attempt, function, flags, length = TASK.unpack_from(record)
        begin = TASK.size
        code = record[begin : begin + length] if flags & HAS_CODE else None
        payload = record[begin + length :]
        if flags & FORGET_OTHERS:
            self.functions.clear()
        if self.cpu:
            self.give_cpu()
        ran, printed = 0, b""
        try:
            outcome, kind, words, result, ran = self.call(task, attempt, function, code, payload)
        except MemoryError:
            self.retires = True
            outcome, kind, words = FAILED, RAISED, "MemoryError"
            result = pickle.dumps(MemoryError("the slot ran out of memory"), PROTOCOL)
        if self.is_child:
            os._exit(0)
        size = self.flush()
        if size:
            printed = self.take_printed(size)
            if size > self.config["output"]:
                words = "the function printed more than %d bytes" % self.config["output"]
                outcome, kind, result = FAILED, OUTPUT, pickle.dumps(RuntimeError(words), PROTOCOL)
        if len(result) > self.config["result"]:
            words = "the result has %d bytes; %d are allowed" % (len(result), self.config["result"])
            outcome, kind, result = FAILED, RESULT, pickle.dumps(ValueError(words), PROTOCOL)
        self.tidy()
        words = words.encode("utf-8", "replace")[:WORDS_MAX]
        head = REPORT.pack(task, attempt, outcome, kind, self.retires, ran // 1000, len(words), len(printed))
        rest = len(head) + len(words) + len(printed) + len(result)
        if rest < READ:
            self.conn.sendall(b"".join((LENGTH.pack(rest), head, words, printed, result)))
        else:
            self.conn.sendall(b"".join((LENGTH.pack(rest), head, words, printed)))
            self.conn.sendall(result)

    def call(self, task, attempt, function, code, payload):
        try:
            called = self.functions.get(function)
            if called is None:
                called = self.functions[function] = load_function(code)
        except Unloadable as error:
            words = "the function cannot be loaded by Python %s: %s" % (sys.version.split()[0], error)
            return FAILED, FUNCTION, words, pickle.dumps(RuntimeError(words), PROTOCOL), 0
        try:
            args, kwargs = load_arguments(payload)
        except Unloadable as error:
            words = "the arguments cannot be loaded: %s" % error
            return FAILED, ARGUMENTS, words, pickle.dumps(RuntimeError(words), PROTOCOL), 0
        environ = os.environ
        name = task.hex()
        environ["FAAS_TASK_ID"] = "-".join((name[:8], name[8:12], name[12:16], name[16:20], name[20:]))
        environ["FAAS_ATTEMPT"] = str(attempt)
        begun = time.perf_counter_ns()
        try:
            value = called(*args, **kwargs)
        except BaseException as error:
            ran = time.perf_counter_ns() - begun
            if self.is_child:
                os._exit(1)
            self.retires = isinstance(error, MemoryError)
            self.print_traceback(error)
            return FAILED, RAISED, words_of(error), pickled_exception(error), ran
        ran = time.perf_counter_ns() - begun
        if self.is_child:
            os._exit(0)
        try:
            return COMPLETED, 0, "", dumps(value), ran
        except BaseException as error:
            words = "the result, of type %s, cannot be pickled: %s" % (type(value).__name__, words_of(error))
            self.retires = isinstance(error, MemoryError)
            return FAILED, RESULT, words, pickle.dumps(RuntimeError(words), PROTOCOL), ran

    def print_traceback(self, error):
        try:
            import traceback

            first = error.__traceback__.tb_next if error.__traceback__ else None
            traceback.print_exception(type(error), error, first, file=self.error)
        except BaseException:
            pass

    def flush(self):
        """How much was printed since the last task."""
        for file in (self.out, self.error):
            try:
                file.flush()
            except OSError:
                file.buffer.raw.left = -1  # What is left is swallowed.
                file.flush()
            except ValueError:  # It was closed or taken apart.
                self.open_prints()
                break
        sys.stdout, sys.stderr = self.out, self.error
        try:
            size = os.lseek(PRINTED, 0, os.SEEK_CUR)
        except OSError:
            self.retires = True
            return 0
        is_over = self.out.buffer.raw.left < 0 or self.error.buffer.raw.left < 0
        return max(size, self.config["output"] + 1) if is_over else size

    def take_printed(self, size):
        self.out.buffer.raw.left = self.error.buffer.raw.left = self.config["output"]
        end = os.fstat(PRINTED).st_size
        printed = os.pread(PRINTED, PRINTED_MAX, max(0, end - PRINTED_MAX))
        os.ftruncate(PRINTED, 0)
        os.lseek(PRINTED, 0, os.SEEK_SET)
        return printed

    def stat_place(self):
        place = os.stat(".")
        return place.st_ino, place.st_mtime_ns

    def tidy(self):
        """Leaves the slot as the next task wants to find it; what cannot be mended retires it."""
        try:
            if self.stat_place() != self.stat:
                os.chdir(self.place)
                empty(self.place)
                self.stat = self.stat_place()
        except OSError:
            self.retires = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        if sys.getrecursionlimit() != self.limit:
            sys.setrecursionlimit(self.limit)
        # Threads and processes that user code left running would trouble the next task: the slot ends with them.
        if sys.modules["_thread"]._count() > 0:
            self.retires = True
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            self.retires = True
        except ChildProcessError:
            pass

    def give_cpu(self):
        used = time.process_time()
        if used + self.cpu > self.cpu_until:
            self.cpu_until = used + 2 * self.cpu
            most = resource.getrlimit(resource.RLIMIT_CPU)[1]
            resource.setrlimit(resource.RLIMIT_CPU, (int(self.cpu_until) + 1, most))


# ---------------------------------------------------------------------------------------------------------------------


def main():
    nothing = os.open("/dev/null", os.O_RDWR)
    for std, ours, instead in ((0, HEARD, nothing), (1, SAID, 2)):
        os.dup2(std, ours, inheritable=False)
        os.dup2(instead, std)
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(HEARD, 1)
        if not byte:
            os._exit(0)
        line += byte
    config = json.loads(line)
    config["pid"] = os.getpid()
    if not config["user_base"]:
        # Of this worker alone, so that no two slots of a machine share a user.
        config["user_base"] = 1000000000 + os.getpid() % 16384 * 65536
    zygote = Zygote(config)
    why = zygote.prepare()
    if why:
        say("failed " + why)
        os._exit(3)
    call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    zygote.look_at_jails()
    import gc

    gc.collect()
    gc.freeze()
    facts = {
        "python": sys.version.split()[0],
        "dill": getattr(dill, "__version__", "") if dill else "",
        "jails": sorted(zygote.jails),
        "remarks": "; ".join(zygote.remarks),
    }
    say("ready " + json.dumps(facts))
    zygote.serve()


if __name__ == "__main__":
    main()
