"""Running a root file system as an engine runs a container: what the Dockerfile says of it, in a chroot, with the server as
process 1 of its own namespace, and signals from outside."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# Run with the root, ro or rw, and the volumes as `source:target`, up to `--`; then comes the command. The shell is process
# 1, and what it becomes is so too.
ENTER = """
set -e
root=$1 mode=$2; shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
    mount --bind "${1%%:*}" "$root${1#*:}"
    shift
done
shift
[ "$mode" = rw ] || mount -o remount,bind,ro "$root"
exec "$@"
"""


class Stage:
    """What a stage of the Dockerfile says to an engine."""

    def __init__(self, name: str):
        text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
        (lines,) = re.findall(rf"^FROM scratch AS {name}\n(.*?)(?=^FROM|\Z)", text, re.MULTILINE | re.DOTALL)
        self.copies = re.findall(r"^COPY (.*)$", lines, re.MULTILINE)
        self.entrypoint = json.loads(re.search(r"^ENTRYPOINT (.*)$", lines, re.MULTILINE)[1])
        self.command = json.loads(re.search(r"^CMD (.*)$", lines, re.MULTILINE)[1])
        self.environment = dict(re.findall(r'^ENV (\w+)="(.*)"$', lines, re.MULTILINE))
        self.ports = re.search(r"^EXPOSE (.*)$", lines, re.MULTILINE)[1].split()


class Service:
    """What a compose file of ours says of its one service; the lists in it are written as JSON."""

    def __init__(self, name: str):
        text = (REPOSITORY / "packaging/compose" / name).read_text()

        def said(key, default):
            found = re.search(rf"^ +{key}: (.*)$", text, re.MULTILINE)
            return json.loads(found[1]) if found else default

        self.command = said("command", [])
        self.volumes = said("volumes", [])
        self.user = said("user", None)
        self.read_only = said("read_only", False)
        self.healthcheck = said("test", None)[1:]
        self.ports = said("ports", [])


class Container:
    """A running one. Leaves nothing behind: `kill` is called by `with`."""

    def __init__(self, root, stage, command=None, *, volumes=(), environment=None, user=None, read_only=False, entrypoint=None):
        for volume in volumes:
            source, target = volume.split(":")[:2]
            inside = Path(f"{root}{target}")
            # What an engine does with a link in the image.
            inside = Path(f"{root}/{os.readlink(inside)}") if inside.is_symlink() else inside
            if Path(source).is_dir():
                inside.mkdir(parents=True, exist_ok=True)
            elif not inside.exists():
                inside.parent.mkdir(parents=True, exist_ok=True)
                inside.touch()
        environment = {**stage.environment, **(environment or {})}
        self.environment = [f"{name}={value}" for name, value in environment.items()]
        enter = ["sh", "-c", ENTER, "enter", str(root), "ro" if read_only else "rw"]
        enter += [":".join(volume.split(":")[:2]) for volume in volumes] + ["--"]
        change = [shutil.which("chroot"), *([f"--userspec={user}", "--groups="] if user else []), str(root)]
        command = (entrypoint or stage.entrypoint) + (stage.command if command is None else command)
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
            + enter
            + ["setpriv", "--no-new-privs", "env", "-i", *self.environment, *change, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []
        self.told = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.told:
                self.lines.append(line.rstrip())
                self.told.notify_all()
        with self.told:
            self.lines.append(None)
            self.told.notify_all()

    def says(self, words):
        """Waits until a line of the log has these words, and fails when the log ends without."""
        with self.told:
            self.told.wait_for(lambda: None in self.lines or any(line and words in line for line in self.lines))
            assert any(line and words in line for line in self.lines), f"{words!r} is not in {self.lines}"
        return self

    def ready(self):
        return self.says("Server is ready")

    @property
    def pid(self):
        """Process 1 of the container, as it is called outside."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def signal(self, number):
        os.kill(self.pid, number)
        return self

    def run(self, command):
        """Runs a command inside, as `docker exec`."""
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--root", "--wd"]
        return subprocess.run(["env", "-i", *self.environment, shutil.which("nsenter"), *inside[1:], *command],
                              capture_output=True, text=True)

    def ended(self):
        """The exit code of process 1."""
        code = self.process.wait()
        self.reader.join()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            try:
                self.signal(signal.SIGKILL)
            except (IndexError, FileNotFoundError, ProcessLookupError):
                self.process.kill()
            self.process.wait()
        self.reader.join()
