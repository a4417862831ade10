#!/usr/bin/env python3
"""How long servers take to start over streams of so many messages, after a clean stop and after a kill.

    bench/start.py --server weir=target/release/weir-server --server nats-server=nats-server --out docs/start.svg

Each server fills a stream of its own (128 bytes a message, a tenth as many subjects as messages), is killed (SIGKILL) as soon as the last
message is stored, started, stopped (SIGTERM), and started again, and so on; files are in the page cache. What is told is the median of
the times from the start of the process to the first answer about the stream, in milliseconds, and its memory then. Only for comparisons
on one machine. Needs nothing but Python.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

STREAM = {
    "name": "T", "subjects": ["t.>"], "storage": "file", "num_replicas": 1, "retention": "limits", "discard": "old",
    "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msgs_per_subject": -1, "max_msg_size": -1,
}
BODY = b"x" * 128
STEP = 10_000


class Client:
    """A connection that asks."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=600)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self.socket.sendall(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB _I.x 1\r\n')

    def ask(self, subject, body=b""):
        """The answer; None if nobody answers."""
        self.socket.sendall(b"PUB %s _I.x %d\r\n%s\r\n" % (subject.encode(), len(body), body))
        while line := self.file.readline():
            if line.startswith(b"PING"):
                self.socket.sendall(b"PONG\r\n")
            elif line.startswith((b"MSG", b"HMSG")):
                answer = self.file.read(int(line.split()[-1]) + 2)
                return json.loads(answer) if line.startswith(b"MSG") else None
        return None

    def stored(self):
        answer = self.ask("$JS.API.STREAM.INFO.T")
        return answer["state"]["messages"] if answer and "state" in answer else None


def started(command, store, port):
    """The process, and the milliseconds that it took until it told of the stream; with a new store, of anything."""
    begin = time.monotonic()
    process = subprocess.Popen([*command, "-js", "-sd", store, "-a", "127.0.0.1", "-p", str(port)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    is_new = not os.listdir(store)
    while True:
        try:
            client = Client(port)
            if client.ask("$JS.API.INFO") if is_new else client.stored() is not None:
                return process, (time.monotonic() - begin) * 1000
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended") from None
        time.sleep(0.002)


def stop(process, how):
    process.send_signal(how)
    process.wait()


def fill(port, count):
    client = Client(port)
    client.ask("$JS.API.STREAM.CREATE.T", json.dumps(STREAM).encode())
    subjects = max(count // 10, 1)
    for first in range(0, count, STEP):
        some = range(first, min(first + STEP, count))
        client.socket.sendall(b"".join(b"PUB t.d%d.temp 128\r\n%s\r\n" % (n % subjects, BODY) for n in some))
        while client.stored() < first - 2 * STEP:
            time.sleep(0.002)
    while client.stored() < count:
        time.sleep(0.01)


def warm(store):
    for folder, _, names in os.walk(store):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                while file.read(1 << 20):
                    pass


def memory(process):
    """MiB that are not a part of files."""
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024


def measure(command, count, repeat, port, below):
    store = tempfile.mkdtemp(dir=below)
    try:
        process, _ = started(command, store, port)
        fill(port, count)
        stop(process, signal.SIGKILL)
        took = {"killed": [], "stopped": []}
        for turn in range(2 * repeat):
            warm(store)
            process, ms = started(command, store, port)
            took["stopped" if turn % 2 else "killed"].append(ms)
            used = memory(process)
            # What was just read back is stored anew, so that the kill has something to lose.
            if turn % 2:
                client = Client(port)
                for n in range(STEP):
                    client.socket.sendall(b"PUB t.d%d.temp 128\r\n%s\r\n" % (random.randrange(max(count // 10, 1)), BODY))
                client.stored()
            stop(process, signal.SIGKILL if turn % 2 else signal.SIGTERM)
        return {how: statistics.median(all) for how, all in took.items()} | {"MiB": used}
    finally:
        shutil.rmtree(store)


def svg(results, counts):
    """Milliseconds over messages, both in powers of ten."""
    width, height, left, top = 560, 320, 60, 20
    colours = ["#0b6e99", "#c2410c", "#4d7c0f", "#7c3aed"]
    times = [ms for of in results.values() for at in of.values() for ms in (at["killed"], at["stopped"])]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    first, last = math.log10(counts[0]), math.log10(counts[-1])

    def x(count):
        return left + (math.log10(count) - first) / max(last - first, 1) * (width - left - 150)

    def y(ms):
        return height - 40 - (math.log10(ms) - low) / max(high - low, 1) * (height - 40 - top)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    for power in range(low, high + 1):
        at = y(10**power)
        out.append(f'<path d="M{left} {at:.1f}H{width - 150}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{10**power:,} ms</text>')
    for count in counts:
        out.append(f'<text x="{x(count):.1f}" y="{height - 22}" text-anchor="middle">{count:,}</text>')
    out.append(f'<text x="{(left + width - 150) / 2}" y="{height - 6}" text-anchor="middle">messages of 128 bytes</text>')
    names = []
    for colour, (name, of) in zip(colours, results.items()):
        for how, dash in (("stopped", ""), ("killed", ' stroke-dasharray="5 4"')):
            points = [(x(count), y(of[count][how])) for count in counts]
            path = "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
            out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
            out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
            names.append((points[-1][1] + 4, f"{name}, {how}", colour))
    # Names that would stand on each other are moved apart.
    bottom = 0
    for at, name, colour in sorted(names):
        bottom = max(at, bottom + 13)
        out.append(f'<text x="{width - 140}" y="{bottom:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>", ""])


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--server", action="append", required=True, metavar="NAME=COMMAND")
    options.add_argument("--counts", default="100000,1000000,10000000", help="messages, separated by commas")
    options.add_argument("--repeat", type=int, default=3)
    options.add_argument("--port", type=int, default=14311)
    options.add_argument("--below", help="the folder in which stores are made")
    options.add_argument("--out", help="where the plot goes")
    options = options.parse_args()
    counts = sorted(int(count) for count in options.counts.split(","))
    results = {}
    for server in options.server:
        name, command = server.split("=", 1)
        for count in counts:
            found = measure(command.split(), count, options.repeat, options.port, options.below)
            results.setdefault(name, {})[count] = found
            print(f"{name:>14} {count:>12,}  killed {found['killed']:>8.0f} ms  stopped {found['stopped']:>8.0f} ms  "
                  f"{found['MiB']:>6.0f} MiB", flush=True)
    if options.out:
        with open(options.out, "w") as file:
            file.write(svg(results, counts))


if __name__ == "__main__":
    main()
