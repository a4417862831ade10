"""The Debian package is installed, started, upgraded, removed and purged, in an overlay of this machine's own root."""

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading
from pathlib import Path

import nats
import pytest

from conftest import BINARIES, REPOSITORY

CONFIGURATION = Path("etc/weir/weir-server.conf")
# What the shell becomes has /proc of its own processes, /dev, and an empty /run, where no systemd is found.
ENTER = """
mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && mount -t tmpfs tmpfs "$1/run" || exit 70
root=$1; shift
exec "$@" || exit 70
"""

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("dpkg", "dpkg-deb", "adduser", "deb-systemd-helper", "setpriv")),
    reason="it takes a Debian with dpkg-deb, adduser and init-system-helpers",
)


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """One as scripts/package makes it, and the same in a higher version, with another configuration file."""
    folder = tmp_path_factory.mktemp("packages")
    script = REPOSITORY / "scripts/package"
    uncompressed = {**os.environ, "WEIR_DEB_COMPRESSION": "none"}
    subprocess.run([script, "--binaries", BINARIES, "--version", "0.1.0-1", "--out", folder, "deb"], check=True,
                   capture_output=True, env=uncompressed)
    (first,) = folder.glob("weir_0.1.0-1_*.deb")
    tree, second = folder / "tree", folder / "weir_0.2.0-1.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", first, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace("Version: 0.1.0-1", "Version: 0.2.0-1"))
    (tree / CONFIGURATION).write_text((tree / CONFIGURATION).read_text() + "# Said in the new version.\n")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, second], check=True, capture_output=True)
    return first, second


class Machine:
    """This machine's root, of which all changes go to a file system in memory that goes with the tests' namespace."""

    def __init__(self, folder: Path):
        self.root = folder / "machine"
        changes = folder / "changes"
        self.changed = changes / "upper"
        self.root.mkdir()
        changes.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", changes], check=True)
        (changes / "upper").mkdir()
        (changes / "work").mkdir()
        options = f"lowerdir=/,upperdir={changes}/upper,workdir={changes}/work"
        mounted = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.root], capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"this machine mounts no overlay of its root: {mounted.stderr.strip()}")
        if self.run("dpkg-query", "-W", "weir").returncode == 0 or self.run("getent", "passwd", "weir").returncode == 0:
            pytest.skip("weir is installed on this machine")

    def command(self, *command):
        return ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER,
                "enter", str(self.root), shutil.which("chroot"), str(self.root), *map(str, command)]

    def run(self, *command, environment=None):
        variables = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
        return subprocess.run(self.command(*command), capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={**variables, **(environment or {})})

    def dpkg(self, *arguments, environment=None):
        # Triggers are of other packages: man-db's, which would read all manual pages of this machine.
        done = self.run("dpkg", "--no-triggers", "--force-unsafe-io", *arguments, environment=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def install(self, deb: Path):
        shutil.copy(deb, self.root / "srv" / deb.name)
        return self.dpkg("--force-confold", "-i", f"/srv/{deb.name}")


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def unit():
    """The unit's own words; of a key that comes twice, the last."""
    text = (REPOSITORY / "packaging/systemd/weir-server.service").read_text()
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


class Service:
    """The unit's ExecStart as the unit's user, told by systemd's protocol: what systemd would do without the sandbox."""

    def __init__(self, machine: Machine):
        self.notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notifications.bind(f"\0weir-test-{os.getpid()}")
        said = unit()
        assert said["Type"] == "notify"
        command = ["setpriv", f"--reuid={said['User']}", f"--regid={said['Group']}", "--init-groups", "--no-new-privs",
                   "--bounding-set=-all", *said["ExecStart"].split()]
        self.process = subprocess.Popen(machine.command(*command), env={"NOTIFY_SOCKET": f"@weir-test-{os.getpid()}", "PATH": os.environ["PATH"]},
                                        stderr=subprocess.PIPE, text=True)
        self.log = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        self.log = self.process.stderr.read()
        # Whoever waits for a notification learns that none will come.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            try:
                sender.sendto(b"ENDED=1", self.notifications.getsockname())
            except OSError:
                pass

    def told(self, words):
        got = self.notifications.recv(4096).decode()
        if got == "ENDED=1":
            self.reader.join()
        assert words in got.splitlines(), f"{got!r}; the log: {self.log}"

    def signal(self, number):
        (child,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        os.kill(int(child), number)

    def stop(self):
        self.signal(getattr(signal, unit()["KillSignal"]))
        self.told("STOPPING=1")
        code = self.process.wait()
        self.reader.join()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        self.notifications.close()


async def messages(more=0):
    client = await nats.connect("nats://127.0.0.1:4222")
    stream = client.jetstream()
    await stream.add_stream(name="ORDERS", subjects=["orders.>"])
    for number in range(more):
        await stream.publish("orders.eu", str(number).encode())
    count = (await stream.stream_info("ORDERS")).state.messages
    await client.close()
    return count


async def test_install_start_upgrade_remove_and_purge(machine, packages):
    first, second = packages
    configuration, data = machine.root / CONFIGURATION, machine.root / "var/lib/weir"

    machine.install(first)
    assert machine.run("weir-server", "--version").returncode == 0
    assert machine.run("weir-server", "-t", "-c", f"/{CONFIGURATION}").returncode == 0
    owner = machine.run("stat", "-c", "%U:%G %a", "/var/lib/weir", f"/{CONFIGURATION}").stdout.split("\n")
    assert owner[:2] == ["weir:weir 750", "root:weir 640"]
    assert machine.run("dpkg", "--verify", "weir").stdout == ""
    assert (machine.root / "etc/systemd/system/multi-user.target.wants/weir-server.service").is_symlink()
    for page in ("man1/weir-verify.1.gz", "man8/weir-server.8.gz"):
        assert (machine.root / "usr/share/man" / page).exists()

    with Service(machine) as service:
        service.told("READY=1")
        assert await messages(100) == 100
        service.signal(signal.SIGHUP)
        service.told("RELOADING=1")
        service.told("READY=1")
        assert service.stop() == 0, service.log
    assert stat.S_IMODE(data.stat().st_mode) == 0o750

    configuration.write_text(configuration.read_text() + "server_name: mine\n")
    machine.install(second)
    assert machine.run("dpkg-query", "-W", "-f", "${Version}", "weir").stdout == "0.2.0-1"
    assert configuration.read_text().endswith("server_name: mine\n")
    offered = configuration.with_name(configuration.name + ".dpkg-dist")
    assert offered.read_text().endswith("# Said in the new version.\n")
    assert machine.run("stat", "-c", "%U:%G %a", f"/{CONFIGURATION}").stdout.strip() == "root:weir 640"
    with Service(machine) as service:
        service.told("READY=1")
        assert await messages() == 100
        assert service.stop() == 0, service.log
    assert "Name:     mine" in service.log
    looked = machine.run("weir", "verify", "/var/lib/weir")
    assert looked.returncode == 0, looked.stdout

    machine.dpkg("--remove", "weir")
    assert not (machine.root / "usr/bin/weir-server").exists()
    assert configuration.exists() and any(data.iterdir())

    machine.install(second)
    with Service(machine) as service:
        service.told("READY=1")
        assert await messages(1) == 101
        assert service.stop() == 0, service.log

    said = machine.dpkg("--purge", "weir")
    assert not configuration.parent.exists()
    assert any(data.iterdir()) and "/var/lib/weir" in said and "WEIR_PURGE=data" in said
    assert machine.run("getent", "passwd", "weir").returncode == 0, "somebody owns what is left"
    assert not (machine.root / "etc/systemd/system/multi-user.target.wants/weir-server.service").is_symlink()


def test_purge_takes_the_data_if_that_is_asked_for(machine, packages):
    machine.install(packages[0])
    (machine.root / "var/lib/weir/something").touch()
    machine.dpkg("--purge", "weir", environment={"WEIR_PURGE": "data"})
    assert not (machine.root / "var/lib/weir").exists()
    assert machine.run("getent", "passwd", "weir").returncode != 0
    # What is removed of the root's own is a device in an overlay.
    left = [path for top in ("etc", "usr", "var") for path in (machine.changed / top).rglob("*weir*")]
    left = [path.relative_to(machine.changed) for path in left if not path.is_char_device()]
    assert [path for path in left if path.parts[:3] not in (("var", "lib", "dpkg"), ("var", "log", "apt"))] == []
