"""What is uploaded: the functions' code and the layer with what they depend on, built without Docker.

Wheels for arm64 are unpacked by uv. Byte code is compiled here, for Lambda's file system is read-only and imports
without it take about four times as long, at every cold start; `unchecked-hash` because the file times of a package
mean nothing there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.lock import LOCKS, NUMBERS, ROOT, RUNTIME

VERSION: Final = "3.13"
CODE: Final = ROOT / "functions"
BUNDLES: Final = ROOT / ".kami" / "bundles"
# botocore describes 400 services in 25 MB; these are the ones that Kami calls.
SERVICES: Final = frozenset({"dynamodb", "events", "kms", "pinpoint-sms-voice-v2", "s3", "secretsmanager", "sqs"})


class Assets(Construct):
    """Code and layer, shared by all functions. Unbundled, they are what they would be made from: sources and lock."""

    def __init__(self, scope: Construct, *, bundle: bool, byte_code_required: bool) -> None:
        super().__init__(scope, "Assets")
        python = _compiler(required=byte_code_required) if bundle else None
        self.code = lambda_.Code.from_asset(
            str(_code(python) if bundle else CODE), exclude=None if bundle else ["**/__pycache__"]
        )
        self.layer = self._layer("Layer", "What Kami's functions depend on, as locked", RUNTIME, bundle, python)
        self.numbers = self._layer("Numbers", "Number plans and time zones, for notify", NUMBERS, bundle, python)

    def _layer(self, id: str, what: str, lock: Path, bundle: bool, python: Path | None) -> lambda_.LayerVersion:
        return lambda_.LayerVersion(
            self,
            id,
            description=what,
            code=lambda_.Code.from_asset(str(_wheels(lock, python) if bundle else LOCKS)),
            compatible_architectures=[lambda_.Architecture.ARM_64],
            compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
        )


def _code(python: Path | None) -> Path:
    """The folder whose zip holds `functions/`."""
    sources = sorted(path for path in CODE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    contents = (part for path in sources for part in (str(path.relative_to(CODE)).encode(), path.read_bytes()))

    def make(folder: Path) -> None:
        shutil.copytree(CODE, folder / CODE.name, ignore=shutil.ignore_patterns("__pycache__"))
        _compile(folder, python, runs_in="/var/task")

    return _once("code", python, contents, make)


def _wheels(lock: Path, python: Path | None) -> Path:
    """The folder whose zip holds `python/`, with a lock's wheels for arm64."""

    def make(folder: Path) -> None:
        target = folder / "python"
        wheels = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--requirement", str(lock))
        platform = ("--python-platform", "aarch64-manylinux2014", "--python-version", VERSION)
        uv = (sys.executable, "-m", "uv", "pip", "install", "--quiet")
        subprocess.run([*uv, *platform, *wheels, "--target", str(target)], check=True)
        shutil.rmtree(target / "bin", ignore_errors=True)
        for service in (target / "botocore" / "data").glob("*/"):
            if service.is_dir() and service.name not in SERVICES:
                shutil.rmtree(service)
        _compile(target, python, runs_in="/opt/python")

    return _once("layer", python, (lock.read_bytes(), Path(__file__).read_bytes()), make)


def _once(name: str, python: Path | None, made_from: Iterable[bytes], make: Callable[[Path], None]) -> Path:
    """The bundle made of these inputs: from last time, or made now and whole before it gets its name."""
    digest = hashlib.sha256(b"\0".join([b"compiled" if python else b"", *made_from])).hexdigest()
    bundle = BUNDLES / f"{name}-{digest[:16]}"
    if not bundle.exists():
        BUNDLES.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=BUNDLES) as draft:
            folder = Path(draft, "bundle")
            folder.mkdir()
            make(folder)
            folder.rename(bundle)
    return bundle


def _compile(folder: Path, python: Path | None, *, runs_in: str) -> None:
    """Put byte code beside every source; tracebacks name the path that the file has in Lambda."""
    if python:
        compile_all = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")
        subprocess.run([str(python), *compile_all, "-s", str(folder), "-p", runs_in, str(folder)], check=True)


def _compiler(*, required: bool) -> Path | None:
    """A Python of the deployed version, for byte code is particular to it. A version manager's shim may not run."""
    for python in _candidates():
        asks = [str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        answer = subprocess.run(asks, capture_output=True, text=True, check=False) if python.exists() else None
        if answer and answer.stdout.strip() == VERSION:
            return python
    problem = f"no Python {VERSION} found to compile byte code with; imports in Lambda would take about 4 times as long"
    if required:
        raise SystemExit(f"Error: {problem}. Install one (any 3.13.x), or put it on the PATH.")
    print(f"WARNING: {problem}. Good enough to try, not for production.", file=sys.stderr)
    return None


def _candidates() -> Iterator[Path]:
    name, home = f"python{VERSION}", Path.home()
    yield from (Path(folder) / name for folder in os.environ.get("PATH", "").split(os.pathsep))
    yield from chain(
        Path(os.environ.get("PYENV_ROOT", home / ".pyenv")).glob(f"versions/{VERSION}.*/bin/{name}"),
        home.glob(f".local/share/uv/python/cpython-{VERSION}*/bin/{name}"),
    )
