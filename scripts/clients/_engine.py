"""A Docker Engine of one's own, in a network namespace of its own.

A script says `with Engine() as engine:`; `engine.image(...)` builds an image out of files of this machine, since there
is no registry here. The script is then within the namespace itself, with all that it starts, so that containers can be
reached. The rules that an engine makes in the packet filter stay in there, so that nobody else's connections get slower
by them. At the end everything is gone: containers, mounts, namespace, folder.
"""

import ctypes
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 60
NEEDED = [("dockerd", "docker.io"), ("docker", "docker.io"), ("iptables", "iptables"), ("ip", "iproute2")]
CLONE_NEWNET = 0x40000000


class OverSocket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    """One running `dockerd`."""

    def __enter__(self):
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        for program, package in NEEDED:
            assert shutil.which(program), f"missing here: {program}; apt-get install {package}"
        assert os.geteuid() == 0, "an engine of one's own needs root"
        # Not under /tmp, which may lie in memory or on a file system that cannot be laid over another.
        self.folder = tempfile.mkdtemp(prefix="ringwise-engine-", dir="/var/tmp")
        self.name = "ringwise-" + self.folder[-8:].replace("_", "0")
        self.socket = f"{self.folder}/socket"
        self.process, self.outside = None, None
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def start(self):
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        # By hand and not by `ip netns exec`, which would hide the control groups behind a /sys of its own.
        self.outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        enter(f"/run/netns/{self.name}")
        self.serve()

    def serve(self):
        """Starts the daemon: at first, or again on what an earlier one left."""
        command = [
            "dockerd", "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/run",
            "--pidfile", f"{self.folder}/pid", "--host", f"unix://{self.socket}", "--bridge", "none",
            "--log-level", "error",
        ]  # fmt: skip
        self.log = open(f"{self.folder}/log", "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, start_new_session=True)
        late = time.monotonic() + READY_SECONDS_MAX
        while True:
            try:
                if self.ask("GET", "/_ping")[0] == 200:
                    return
            except OSError:
                pass
            said = pathlib.Path(f"{self.folder}/log").read_text()
            assert self.process.poll() is None, f"dockerd ended: {said[-2000:]}"
            assert time.monotonic() < late, f"dockerd does not answer: {said[-2000:]}"
            time.sleep(0.1)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def __exit__(self, kind, value, trace):
        if self.process and self.process.poll() is None:
            try:
                for each in self.containers():
                    self.ask("DELETE", f"/containers/{each['Id']}?force=true")
            except OSError:
                pass
        self.stop()
        if self.outside is not None:
            enter(f"/proc/self/fd/{self.outside}")
            os.close(self.outside)
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True)
        with open("/proc/self/mounts") as file:
            mounts = [line.split()[1] for line in file]
        for mount in sorted((each for each in mounts if each.startswith(self.folder)), reverse=True):
            subprocess.run(["umount", "--lazy", mount], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, method, path, value=None, body=None):
        """One call: the status, and the answer as JSON, or as it is."""
        connection = OverSocket(self.socket)
        try:
            headers = {"Content-Type": "application/json"}
            if body is not None:
                headers = {"Content-Type": "application/x-tar"}
            elif value is not None:
                body = json.dumps(value)
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text
        finally:
            connection.close()

    def containers(self, label=None):
        """All of them, or those with a label; also those that do not run."""
        filters = json.dumps({"label": [label]} if label else {})
        status, found = self.ask("GET", f"/containers/json?all=true&filters={urllib.parse.quote(filters)}")
        assert status == 200, found
        return found

    def names(self, label=None):
        return sorted(each["Names"][0].lstrip("/") for each in self.containers(label))

    def networks(self):
        return sorted(each["Name"] for each in self.ask("GET", "/networks")[1])

    def docker(self, *words):
        """The docker command with this engine: its status, and all that it said."""
        return self.run("docker", *words)

    def run(self, *command):
        environment = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    def image(self, name, program, target):
        """Builds an image of `program` and what it is linked with, by the script that users have."""
        script = pathlib.Path(__file__).resolve().parents[1] / "image"
        status, said = self.run(str(script), target, "--program", program, "--tag", name)
        assert status == 0, said

    def variant(self, name, of, *words):
        """Builds an image that is another but for what it starts."""
        folder = tempfile.mkdtemp(dir=self.folder)
        pathlib.Path(folder, "Dockerfile").write_text(f"FROM {of}\nCMD {json.dumps(words)}\n")
        os.environ["DOCKER_BUILDKIT"] = "0"
        status, said = self.docker("build", "--quiet", "--tag", name, folder)
        assert status == 0, said


def enter(namespace):
    """This thread, and what it starts, is in that network namespace from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(namespace) as file:
        assert libc.setns(file.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
