"""What all tests of the packages share: the network of their namespace, and the root file systems of the image."""

import fcntl
import os
import socket
import struct
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BINARIES = Path(os.environ["WEIR_SERVER"]).parent

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


@pytest.fixture(scope="session", autouse=True)
def loopback():
    """packaging/test runs this in a network of its own, where not even the loopback is up."""
    with socket.socket() as any_socket:
        name = struct.pack("16sh", b"lo", 0)
        flags = struct.unpack("16sh", fcntl.ioctl(any_socket, SIOCGIFFLAGS, name))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))


def assembled(to: Path, *flags: str) -> Path:
    """A root file system, by the script that the Dockerfile runs."""
    script = REPOSITORY / "packaging/container/assemble"
    subprocess.run([script, *flags, BINARIES, to], check=True)
    return to


@pytest.fixture(scope="session")
def full(tmp_path_factory):
    if "BUSYBOX" not in os.environ:
        pytest.skip("it takes a static busybox (apt-get install busybox-static)")
    return assembled(tmp_path_factory.mktemp("image") / "full")


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    return assembled(tmp_path_factory.mktemp("image") / "bare", "--bare")
