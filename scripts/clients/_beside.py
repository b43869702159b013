"""Runs another program beside a dht: `_beside.py DHT PROGRAM WORDS...`, for clients that are not written in Python.

The program finds `RESP=host:port` and `CORES=host:port,host:port` in its environment; its status is ours.
"""

import os
import subprocess
import sys

from _server import Server


def main():
    with Server() as server:
        cores = ",".join(f"{host}:{port}" for host, port in server.cores)
        environment = {**os.environ, "RESP": "{}:{}".format(*server.resp), "CORES": cores}
        status = subprocess.run(sys.argv[2:], env=environment).returncode
    sys.exit(status)


if __name__ == "__main__":
    main()
