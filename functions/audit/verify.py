"""Verify an export of the record, off-line: `python -m functions.audit.verify FILE --key jwks.json`.

FILE is an export as it was fetched. The key is the public one that signs the record: `/.well-known/jwks.json` as it was
when the export was made, or a PEM file. Nothing else is asked or believed; this file needs Python and `cryptography`
only, and can be carried to wherever the export is.

What an export is made of: entries, a line each, chain by chain in the order of their numbers; the signed checkpoints of
its time; the trail, which is the first 16 bytes of each entry's SHA-256 in that order; a manifest, which tells each
chain's first and last number, the hash before the first and that of the last, and the SHA-256 of the trail; and the
signature of the manifest, made when it was exported. So every line is held to two things: to the line before it, whose
hash it names, and to the trail, which says where in a record whose later hashes were all computed anew the first entry
lies that is not what it was.

Exit code: 0 all is as it was, 1 it is not (and where it begins not to be), 2 it could not be verified.
"""

from __future__ import annotations

import argparse
import binascii
import hashlib
import json
import mmap
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

CHECKPOINT_TYPE = "kami-checkpoint+jws"
EXPORT_TYPE = "kami-record+jws"
PURPOSE = "record"
"""What a key set says of the keys that sign it."""
MARK = 16
"""Bytes of each hash in the trail. Whoever alters an entry would need a second preimage of 128 bits."""
GENESIS = "0" * 64
_HALF = 32
_ENTRY, _CHECKPOINT, _TRAIL = b'{"chain":', b'{"checkpoint":', b'{"trail":'
_MANIFEST, _SIGNATURE = b'{"manifest":', b'{"signature":'
_CLOSING = (_CHECKPOINT, _TRAIL, _MANIFEST, _SIGNATURE)

Json = dict[str, Any]
Keys = dict[str, ec.EllipticCurvePublicKey]
"""By `kid`; under the empty one a key that is good for any."""


class CannotVerify(Exception):  # noqa: N818 - the file may be right
    """There is no way to tell."""


class Altered(Exception):  # noqa: N818 - the code works, the file does not
    """The first thing that is not as it was. `kind` says what became of it; an entry is named by chain and number."""

    def __init__(self, kind: str, detail: str, chain: str | None = None, number: int | None = None) -> None:
        place = f"chain {chain}, entry {number}: " if chain is not None else ""
        super().__init__(f"{place}{kind}: {detail}")
        self.kind, self.chain, self.number = kind, chain, number


class Run(NamedTuple):
    """The entries `first..last` of a chain, the hash before them and that of the last."""

    chain: str
    first: int
    last: int
    prev: str
    head: str


@dataclass(frozen=True, slots=True)
class Told:
    """What is signed."""

    runs: list[Run]
    trail: str
    checkpoints: list[Json]
    signed: Json
    closes_at: int
    """Where in the file what closes it begins: nothing but entries is before that."""


class Verified(NamedTuple):
    """What was found to be as it was."""

    entries: int
    chains: int
    checkpoints: list[int]
    signed: Json


def verify(path: Path, keys: Keys, kept: str | None = None) -> Verified:
    """Verify an export, also against a checkpoint (its JWS) that was `kept` since it was had.

    Raises Altered at the first thing that is not as it was, CannotVerify where none can tell.
    """
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise Altered("cut off", "the file is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _Export(content, keys).verified(kept)
    except (OSError, ValueError, RecursionError) as error:
        raise CannotVerify(f"{path} cannot be read: {error}") from error


class _Export:
    def __init__(self, content: mmap.mmap, keys: Keys) -> None:
        self.content, self.keys = content, keys
        self.closes_at = len(content)

    def verified(self, kept: str | None) -> Verified:
        told, trail = self._told()
        self.closes_at = told.closes_at
        heads = _heads(told)
        at = 0
        self.content.seek(0)
        for run in told.runs:
            at = self._follow(run, trail, at, heads.get(run.chain, {}), told.runs)
        if self.content.tell() != self.closes_at:
            chain, number = (told.runs[-1].chain, told.runs[-1].last + 1) if told.runs else (None, None)
            raise Altered("added", "a line that is none of the record's", chain, number)
        _agreed(told)
        if kept is not None:
            _passed(told, _opened(kept, CHECKPOINT_TYPE, self.keys, "the checkpoint that was kept"))
        return Verified(at // MARK, len(told.runs), [each["number"] for each in told.checkpoints], told.signed)

    def _told(self) -> tuple[Told, bytes]:
        """What is signed, and the trail."""
        end = len(self.content)
        start, last = self._line_before(end)
        if not (last.startswith(_SIGNATURE) and last.endswith(b"\n")):
            raise self._cut_off()
        signed = _opened(_value(last, "signature"), EXPORT_TYPE, self.keys, "the manifest")
        start, line = self._line_before(start)
        if hashlib.sha256(line[:-1]).hexdigest() != signed["manifest"]:
            raise Altered("changed", "the manifest is not what was signed")
        manifest = json.loads(line)["manifest"]
        runs = [Run(*run) for run in manifest["runs"]]
        start, line = self._line_before(start)
        if not line.startswith(_TRAIL):
            raise Altered("removed", "the trail is not there")
        trail = _trail(line)
        checkpoints: list[str] = []
        closes_at = start
        while closes_at > 0:
            start, line = self._line_before(closes_at)
            if not line.startswith(_CHECKPOINT):
                break
            checkpoints.append(_value(line, "checkpoint"))
            closes_at = start
        linked = _linked(checkpoints[::-1], manifest, self.keys)
        told = Told(runs, manifest["trail"], linked, signed, closes_at)
        if hashlib.sha256(trail).hexdigest() != told.trail:
            self._follow_links(told)
            raise Altered("changed", "the trail is not the one whose digest was signed")
        return told, trail

    def _line_before(self, end: int) -> tuple[int, bytes]:
        """Where the line begins that ends there, and the line."""
        start = self.content.rfind(b"\n", 0, end - 1) + 1
        return start, self.content[start:end]

    def _line(self) -> bytes:
        """The next line before what closes the file, empty where there is none."""
        return self.content.readline() if self.content.tell() < self.closes_at else b""

    def _follow(self, run: Run, trail: bytes, at: int, heads: dict[int, str], runs: Sequence[Run]) -> int:
        """Hold the lines of a run to the trail from `at` on, and to each other; gives the place after them."""
        readline, sha256 = self.content.readline, hashlib.sha256
        prefix, prev, start = b'{"chain":"%b",' % run.chain.encode(), run.prev, run.first
        for stop in sorted({*heads, run.last}):
            for number in range(start, stop + 1):
                line = readline()
                digest = sha256(line[:-1]).digest()
                after = at + MARK
                if trail[at:after] != digest[:MARK] or not (
                    line.endswith(b',"number":%d,"prev":"%b"}\n' % (number, prev.encode())) and line.startswith(prefix)
                ):
                    raise self._explained(line, run, number, prev, trail, at, runs)
                at, prev = after, digest.hex()
            if prev != heads.get(stop, prev):
                raise Altered("forked", "it is not the entry that a checkpoint has signed", run.chain, stop)
            start = stop + 1
        if prev != run.head:
            raise Altered("forked", "it is not the last entry that was signed", run.chain, run.last)
        return at

    def _follow_links(self, told: Told) -> None:
        """Without a trail to hold them to: the first line that does not follow from the one before it."""
        self.content.seek(0)
        heads = _heads(told)
        for run in told.runs:
            prev, prefix = run.prev, b'{"chain":"%b",' % run.chain.encode()
            for number in range(run.first, run.last + 1):
                line = self.content.readline()
                end = b',"number":%d,"prev":"%b"}\n' % (number, prev.encode())
                if not (line.startswith(prefix) and line.endswith(end)):
                    raise Altered("changed", "it, or the one before it, is not what it was", run.chain, number)
                prev = hashlib.sha256(line[:-1]).hexdigest()
                if prev != heads.get(run.chain, {}).get(number, prev):
                    detail = "it, or one before it since the checkpoint before, is not what it was; nor is the trail"
                    raise Altered("changed", detail, run.chain, number)

    def _explained(
        self, line: bytes, run: Run, number: int, prev: str, trail: bytes, at: int, runs: Sequence[Run]
    ) -> Altered:
        """What became of the entry that should be here, told from this line and from all that follow."""
        if self.content.tell() - len(line) >= self.closes_at:
            return Altered("cut off", "it is missing, and all that came after it", run.chain, number)
        after = self._line()
        first, *_ = marks = [hashlib.sha256(each[:-1]).digest()[:MARK] for each in (line, after)]
        found = {*marks, *(hashlib.sha256(each[:-1]).digest()[:MARK] for each in iter(self._line, b""))}
        places = {trail[n : n + MARK]: n for n in range(0, len(trail), MARK)}
        expected, here = trail[at : at + MARK], places.get(first)
        chain, missing = run.chain, expected not in found

        def named(kind: str, detail: str) -> Altered:
            return Altered(kind, detail, chain, number)

        if here is None and not missing:
            return named("added", "a line stands before it that is none of the record's")
        if here is None:
            end = b',"number":%d,"prev":"%b"}\n' % (number, prev.encode())
            named_next = b'"prev":"%b"}\n' % hashlib.sha256(line[:-1]).hexdigest().encode()
            if line.endswith(end) and after.endswith(named_next):
                return named("forked", "it and what follows it is another history than the one that was signed")
            return named("changed", "it is not what it was")
        if here < at:
            return named("added", "an entry from before stands here a second time")
        if not missing:
            other = _place(here, runs)[0]
            if other != chain:
                return named("moved", f"an entry of chain {other} stands in its place")
            return named("reordered", "a later entry stands in its place")
        to_its_end = trail[at : at + (run.last - number + 1) * MARK]
        gone = all(to_its_end[n : n + MARK] not in found for n in range(0, len(to_its_end), MARK))
        if gone and number > run.first:
            return named("cut off", "it is missing, and all that came after it in its chain")
        return named("removed", "it is missing")

    def _cut_off(self) -> Altered:
        """There is no manifest at the end: the last whole entry tells how far the file goes."""
        end = self.content.rfind(b"\n") + 1
        while end > 0:
            start = self.content.rfind(b"\n", 0, end - 1) + 1
            line = self.content[start:end]
            if line.startswith(_ENTRY):
                detail = "the file ends before it, without a manifest"
                try:
                    entry = json.loads(line)
                    return Altered("cut off", detail, entry["chain"], entry["number"] + 1)
                except (ValueError, KeyError, TypeError, RecursionError):
                    return Altered("cut off", "the file ends without a manifest, and not with an entry")
            end = start
        return Altered("cut off", "the file holds no whole entry and no manifest")


def _place(at: int, runs: Sequence[Run]) -> tuple[str, int]:
    """The chain and number of a place in the trail."""
    n = at // MARK
    for run in runs:
        if n <= run.last - run.first:
            return run.chain, run.first + n
        n -= run.last - run.first + 1
    raise IndexError(at)


def _heads(told: Told) -> dict[str, dict[int, str]]:
    """By chain: the numbers within its run whose hash a checkpoint has signed."""
    within = {run.chain: run for run in told.runs}
    heads: dict[str, dict[int, str]] = {}
    for checkpoint in told.checkpoints:
        for chain, (number, head) in checkpoint["chains"].items():
            run = within.get(chain)
            if run is not None and run.first <= number <= run.last:
                heads.setdefault(chain, {})[number] = head
    return heads


def _agreed(told: Told) -> None:
    """Raise Altered where a checkpoint tells of more, or less, than the runs hold: these were signed later."""
    within = {run.chain: run for run in told.runs}
    latest: dict[str, tuple[int, str]] = {}
    for n, checkpoint in enumerate(told.checkpoints):
        for chain, (number, head) in checkpoint["chains"].items():
            before = latest.get(chain, (number, head) if n == 0 else (0, GENESIS))
            if number < before[0]:
                raise Altered("forked", f"checkpoint {checkpoint['number']} tells of less than those before", chain)
            if chain not in within and (number, head) != before:
                raise Altered("removed", "it is missing, though a checkpoint tells of it", chain, before[0] + 1)
            latest[chain] = number, head
    for run in told.runs:
        number, head = latest.get(run.chain, (run.first - 1, run.prev))
        if number > run.last:
            raise Altered("cut off", "it is missing, though a checkpoint tells of it", run.chain, run.last + 1)
        if number < run.last:
            raise Altered("added", "no checkpoint tells of it", run.chain, max(number + 1, run.first))
        if head != run.head:
            raise Altered("forked", "it is not the entry that a checkpoint has signed", run.chain, run.last)


def _passed(told: Told, kept: Json) -> None:
    """Raise Altered where the export is not a continuation of a checkpoint, CannotVerify where it begins after it."""
    same = next((each for each in told.checkpoints if each["number"] == kept["number"]), None)
    if same == kept:
        return
    if same is not None:
        raise Altered("forked", f"its checkpoint {kept['number']} is not the one that was kept")
    if not told.checkpoints or told.checkpoints[0]["number"] > kept["number"]:
        raise CannotVerify(f"the export begins after checkpoint {kept['number']}, which was kept")
    raise Altered("cut off", f"it ends before checkpoint {kept['number']}, which was kept")


def _linked(checkpoints: list[str], manifest: Json, keys: Keys) -> list[Json]:
    """The checkpoints, each signed, numbered and naming the one before it; the last is the one that is exported."""
    found: list[Json] = []
    for jws in checkpoints:
        told = _opened(jws, CHECKPOINT_TYPE, keys, "a checkpoint")
        if found and told["number"] != found[-1]["number"] + 1:
            raise Altered("removed", f"checkpoint {found[-1]['number'] + 1} is not there")
        if found and told["prev"] != hashlib.sha256(checkpoints[len(found) - 1].encode()).hexdigest():
            raise Altered("forked", f"checkpoint {told['number']} follows another one")
        found.append(told)
    if [told["number"] for told in found] != manifest["checkpoints"]:
        raise Altered("removed", "the checkpoints are not those that were exported")
    return found


def _opened(jws: str, type: str, keys: Keys, what: str) -> Json:
    """What a JWS (RFC 7515, ES256) says, once its signature is found to be right."""
    try:
        signed, _, signature = jws.rpartition(".")
        head, said = (json.loads(_decoded(part)) for part in signed.split("."))
        raw = _decoded(signature)
        if (head["alg"], head["typ"], len(raw)) != ("ES256", type, 2 * _HALF):
            raise ValueError
        r, s = int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big")
        key = keys.get(head["kid"]) or keys.get("")
        if key is None:
            raise CannotVerify(f"{what} was signed by the key {head['kid']}, which was not given")
        key.verify(encode_dss_signature(r, s), signed.encode(), ec.ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Altered("changed", f"{what} is not what was signed") from None
    told: Json = said
    return told


def _decoded(text: str) -> bytes:
    return b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _trail(line: bytes) -> bytes:
    """What a line says of the trail; nothing where it says none."""
    try:
        return b64decode(_value(line, "trail"), validate=True)
    except binascii.Error:
        return b""


def _value(line: bytes, name: str) -> str:
    try:
        return str(json.loads(line)[name])
    except (ValueError, KeyError, RecursionError):
        raise Altered("changed", f"the line of the {name} is not what it was") from None


def keys_of(path: Path) -> Keys:
    """The record's keys of a JWKS (RFC 7517), or that of a PEM file; what signs tokens cannot sign a record.

    Raises CannotVerify.
    """
    try:
        text = path.read_bytes()
        if text.lstrip().startswith(b"-----"):
            key = load_pem_public_key(text)
            if not isinstance(key, ec.EllipticCurvePublicKey):
                raise ValueError("no key of an elliptic curve")
            return {"": key}
        found = [jwk for jwk in json.loads(text)["keys"] if jwk.get("crv") == "P-256"]
        return {jwk["kid"]: _key(jwk) for jwk in found if jwk.get("purpose", PURPOSE) == PURPOSE}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CannotVerify(f"{path} holds no public key: {error}") from error


def _key(jwk: Json) -> ec.EllipticCurvePublicKey:
    x, y = (int.from_bytes(_decoded(jwk[name]), "big") for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Verify what the command line names; gives the exit code."""
    parser = argparse.ArgumentParser(prog="functions.audit.verify", description="Verify an export of the record.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--key", type=Path, required=True, help="the public key: jwks.json, or PEM")
    parser.add_argument("--kept", type=Path, help="a checkpoint that you kept: its `jws`, in a file")
    given = parser.parse_args(arguments)
    began = time.perf_counter()
    try:
        found = verify(given.file, keys_of(given.key), _kept(given.kept))
    except Altered as altered:
        say(f"ALTERED  {altered}")
        return 1
    except CannotVerify as why:
        say(f"NOT VERIFIED  {why}")
        return 2
    speed = found.entries / max(time.perf_counter() - began, 1e-9)
    numbers = found.checkpoints
    sealed = f"checkpoints {numbers[0]} to {numbers[-1]}" if numbers else "no checkpoint"
    which = f"export {found.signed['export']} signed at {found.signed['at']}"
    many = f"{found.entries:,} entries in {found.chains} chains"
    say(f"INTACT  {many}, {sealed}, {which} ({speed:,.0f} entries a second)")
    return 0


def _kept(path: Path | None) -> str | None:
    try:
        return path.read_text().strip() if path is not None else None
    except (OSError, ValueError) as error:
        raise CannotVerify(f"{path} cannot be read: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
