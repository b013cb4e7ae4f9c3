"""The verifier names the first entry that is not what it was; whatever a forger does to the rest."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from functions.audit import verify as verifier
from functions.audit.verify import Altered, CannotVerify, keys_of, main, verify
from functions.domain.record import Entry, Head, Json, canonical, chains, hashed, linked
from functions.domain.seal import (
    CHECKPOINT_TYPE,
    EXPORT_TYPE,
    Checkpoint,
    closing,
    in_order,
    manifest,
    planned,
    said_of,
    sealed,
    trail_of,
)

NOW = 1_800_000_000
ROUNDS = 3
PER_ROUND = 12
CHAINS = 4
TAMPERINGS = 1_000


def encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def signed(key: ec.EllipticCurvePrivateKey, type: str, said: Json) -> str:
    head = {"alg": "ES256", "typ": type, "kid": "k"}
    text = ".".join(encoded(json.dumps(part).encode()) for part in (head, said))
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(SHA256())))
    return f"{text}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def event(n: int) -> Json:
    by = {"client": f"till-{n % 7}", "role": "merchant", "tenant": "m", "address": "192.0.2.1", "request": f"r{n}"}
    data = {"serial": "010000000003", "note": '卡密 "prev":"' + "0" * 64 + '"'}
    return {"id": f"1.V#{n}.1", "type": "voucher.redeemed", "schema": 1, "at": "2027-01-15T08:00:00Z", "by": by,
            "data": data}  # fmt: skip


class Record(NamedTuple):
    """An export in its parts: lines of entries in their order, and what closes it."""

    lines: list[str]
    closing: bytes
    keys: verifier.Keys
    key: ec.EllipticCurvePrivateKey

    def written(self, path: Path, lines: list[str] | None = None) -> Path:
        path.write_bytes("".join(f"{line}\n" for line in self.lines if lines is None).encode()
                         + "".join(f"{line}\n" for line in lines or []).encode() + self.closing)  # fmt: skip
        return path


def made(
    rounds: int = ROUNDS, per_round: int = PER_ROUND, names: int = CHAINS, *, first: int = 1, held: int | None = None
) -> Record:
    """A record sealed several times and exported from its second checkpoint on, so that its chains start midway.

    Of these checkpoints only so many are `held` with their entries: what a table that was set back would export.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    heads: dict[str, Head] = {chain: Head() for chain in chains(1)[:names]}
    entries: dict[str, list[Entry]] = {chain: [] for chain in heads}
    checkpoints: list[Checkpoint] = []
    contents: dict[str, bytes] = {}
    number = 0
    for _ in range(rounds + 1):
        for chain in heads:
            new = linked(chain, heads[chain], [event(number + n) for n in range(per_round)])
            number += per_round
            entries[chain] += new
            heads[chain] = Head(new[-1].number, new[-1].hash)
        plan = planned(checkpoints[-1] if checkpoints else None, heads, NOW)
        assert plan is not None
        runs = []
        for span in plan.plan:
            run, content = sealed(
                span, plan.before.get(span.chain, Head()), entries[span.chain][span.first - 1 : span.last]
            )
            runs.append(run)
            contents[span.name] = content
        done = plan.with_seal(runs, signed(key, CHECKPOINT_TYPE, plan.said(runs)))
        assert done is not None
        checkpoints.append(done)
    exported = checkpoints[first:]
    in_file = in_order(exported[:held])
    whole = b"".join(contents[run.span.name] for run in in_file)
    trail = b"".join(trail_of(contents[run.span.name]) for run in in_file)
    told = manifest(in_file, exported, trail)
    end = closing(exported, trail, told, signed(key, EXPORT_TYPE, said_of("aex_1", NOW, told)))
    return Record(whole.decode().split("\n")[:-1], end, {"k": key.public_key()}, key)


@pytest.fixture(scope="module")
def record() -> Record:
    return made()


def name(line: str) -> tuple[str, int]:
    told = json.loads(line)
    return told["chain"], told["number"]


def recomputed(lines: list[str], at: int, *, renumbered: bool = True) -> list[str]:
    """The lines with every link from `at` on made right again, in that chain, as a forger would."""
    forged = list(lines)
    chain, number = name(forged[at])
    before = [line for line in forged[:at] if name(line)[0] == chain]
    prev, number = (
        (hashed(before[-1].encode()), name(before[-1])[1] + 1) if before else (json.loads(lines[at])["prev"], number)
    )
    for n in range(at, len(forged)):
        told = json.loads(forged[n])
        if told["chain"] == chain:
            forged[n] = canonical({**told, "prev": prev, **({"number": number} if renumbered else {})})
            prev, number = hashed(forged[n].encode()), number + 1
    return forged


def edited(line: str, chance: random.Random) -> str:
    told = json.loads(line)
    match chance.randrange(4):
        case 0:
            told["event"]["by"]["client"] = "somebody-else"
        case 1:
            told["event"]["at"] = "2027-01-15T08:00:01Z"
        case 2:
            told["prev"] = hashlib.sha256(line.encode()).hexdigest()
        case _:
            at = chance.randrange(len(line))
            return line[:at] + chr(33 + (ord(line[at]) - 32) % 90) + line[at + 1 :]
    return canonical(told)


Tampered = tuple[list[str], tuple[str, int], set[str]]
"""The lines, the entry that is to be named, and as what."""


def edit(lines: list[str], chance: random.Random) -> Tampered:
    at = chance.randrange(len(lines))
    forged = [*lines[:at], edited(lines[at], chance), *lines[at + 1 :]]
    return forged, name(lines[at]), {"changed"}


def edit_and_recompute(lines: list[str], chance: random.Random) -> Tampered:
    at = chance.randrange(len(lines))
    told = json.loads(lines[at])
    told["event"]["data"]["amount_minor"] = 1
    forged = recomputed([*lines[:at], canonical(told), *lines[at + 1 :]], at)
    return forged, name(lines[at]), {"changed", "forked"}


def delete(lines: list[str], chance: random.Random) -> Tampered:
    at = chance.randrange(len(lines))
    forged = [*lines[:at], *lines[at + 1 :]]
    kinds = {"removed", "cut off"}
    if chance.random() < 0.5 and at < len(forged) and name(forged[at])[0] == name(lines[at])[0]:
        return recomputed(forged, at), name(lines[at]), {"forked", "changed"}
    return forged, name(lines[at]), kinds


def insert(lines: list[str], chance: random.Random) -> Tampered:
    at = chance.randrange(len(lines))
    told = json.loads(lines[at])
    told["event"] = event(10**6)
    forged = [*lines[:at], canonical(told), *lines[at:]]
    kinds = {"added"}
    if chance.random() < 0.3:
        forged, kinds = [*lines[:at], lines[chance.randrange(at) if at else 0], *lines[at:]], {"added"}
        return (forged, name(lines[at]) if at else name(lines[1]), kinds)
    if chance.random() < 0.5:
        forged, kinds = recomputed(forged, at), {"forked", "changed"}
    return forged, name(lines[at]), kinds


def reorder(lines: list[str], chance: random.Random) -> Tampered:
    chain = name(lines[chance.randrange(len(lines))])[0]
    mine = [n for n, line in enumerate(lines) if name(line)[0] == chain]
    one, other = sorted(chance.sample(mine, 2))
    forged = list(lines)
    if chance.random() < 0.5:
        forged[one], forged[other] = forged[other], forged[one]
    else:
        forged.insert(one, forged.pop(other))
    return forged, name(lines[one]), {"reordered"}


def truncate(lines: list[str], chance: random.Random) -> Tampered:
    """From an entry to the end of its chain, or of all."""
    at = chance.randrange(1, len(lines))
    chain = name(lines[at])[0]
    if chance.random() < 0.5:
        return lines[:at], name(lines[at]), {"cut off"}
    kept = [line for n, line in enumerate(lines) if n < at or name(line)[0] != chain]
    return kept, name(lines[at]), {"cut off", "removed"}


def fork(lines: list[str], chance: random.Random) -> Tampered:
    """From an entry on another history of its chain, all of whose hashes are right."""
    at = chance.randrange(len(lines))
    chain = name(lines[at])[0]
    other = [
        canonical({**json.loads(line), "event": event(10**6 + n)}) if n >= at and name(line)[0] == chain else line
        for n, line in enumerate(lines)
    ]
    return recomputed(other, at), name(lines[at]), {"forked", "changed"}


def swap(lines: list[str], chance: random.Random) -> Tampered:
    """Two entries of two chains, as they are, or made to fit where they are put."""
    one, other = sorted(chance.sample(range(len(lines)), 2))
    while name(lines[one])[0] == name(lines[other])[0]:
        one, other = sorted(chance.sample(range(len(lines)), 2))
    forged = list(lines)
    forged[one], forged[other] = forged[other], forged[one]
    if chance.random() < 0.5:
        return forged, name(lines[one]), {"moved"}
    for n in (one, other):
        told, place = json.loads(forged[n]), json.loads(lines[n])
        forged[n] = canonical({**told, **{key: place[key] for key in ("chain", "number", "prev")}})
    return recomputed(recomputed(forged, one), other), name(lines[one]), {"changed", "forked"}


WAYS: list[Callable[[list[str], random.Random], Tampered]] = [
    edit, edit_and_recompute, delete, insert, reorder, truncate, fork, swap,
]  # fmt: skip


def altered(record: Record, path: Path, lines: list[str]) -> Altered:
    with pytest.raises(Altered) as found:
        verify(record.written(path, lines), record.keys)
    return found.value


def test_an_untouched_record_is_found_to_be_as_it_was(record: Record, tmp_path: Path) -> None:
    found = verify(record.written(tmp_path / "export"), record.keys)
    assert (found.entries, found.chains, found.checkpoints) == (ROUNDS * PER_ROUND * CHAINS, CHAINS, [2, 3, 4])
    whole = made(first=0)
    assert verify(whole.written(tmp_path / "whole"), whole.keys).checkpoints == [1, 2, 3, 4]


def test_a_thousand_tamperings_are_all_found_each_at_the_right_entry(record: Record, tmp_path: Path) -> None:
    chance = random.Random(2026)
    path = tmp_path / "export"
    for n in range(TAMPERINGS):
        way = WAYS[n % len(WAYS)]
        lines, (chain, number), kinds = way(record.lines, chance)
        if lines == record.lines:
            continue
        found = altered(record, path, lines)
        assert (found.chain, found.number) == (chain, number), (n, way.__name__, str(found))
        assert found.kind in kinds, (n, way.__name__, str(found))


def test_several_at_once_are_found_at_the_first(record: Record, tmp_path: Path) -> None:
    chance = random.Random(7)
    for _ in range(50):
        one, other = sorted(chance.sample(range(len(record.lines)), 2))
        lines = list(record.lines)
        for at in (one, other):
            lines[at] = lines[at].replace("merchant", "operator")
        found = altered(record, tmp_path / "export", lines)
        assert (found.chain, found.number) == name(record.lines[one])


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_file_that_ends_early_is_cut_off_where_its_last_whole_entry_ends(
    record: Record, tmp_path: Path, kept: float
) -> None:
    path = record.written(tmp_path / "export")
    content = path.read_bytes()[: int(kept * path.stat().st_size)]
    path.write_bytes(content)
    with pytest.raises(Altered) as found:
        verify(path, record.keys)
    last = [line for line in content.decode(errors="replace").split("\n")[:-1] if line.startswith('{"chain"')]
    assert found.value.kind == "cut off"
    assert (found.value.chain, found.value.number) == ((c := name(last[-1]))[0], c[1] + 1) if last else (None, None)


def test_no_manifest_without_its_signature_and_no_checkpoint_either(record: Record, tmp_path: Path) -> None:
    for what, called in (("checkpoint", "a checkpoint"), ("signature", "the manifest")):
        lines = record.closing.split(b"\n")
        at = max(n for n, line in enumerate(lines) if line.startswith(b'{"%b":' % what.encode()))
        jws = json.loads(lines[at])[what]
        head, said, signature = jws.split(".")
        forged = record._replace(closing=b"\n".join(
            [*lines[:at], json.dumps({what: f"{head}.{said[:-4]}AAAA.{signature}"}, separators=(",", ":")).encode(),
             *lines[at + 1 :]]))  # fmt: skip
        with pytest.raises(Altered, match=f"{called} is not what was signed"):
            verify(forged.written(tmp_path / "export"), record.keys)


def test_a_manifest_that_is_another_one_is_found(record: Record, tmp_path: Path) -> None:
    closing = record.closing.replace(b'{"manifest":{"checkpoints":[2,', b'{"manifest":{"checkpoints":[1,2,')
    assert closing != record.closing
    with pytest.raises(Altered, match="the manifest is not what was signed"):
        verify(record._replace(closing=closing).written(tmp_path / "export"), record.keys)


def test_a_trail_that_is_not_the_one_signed_is_found_and_so_is_what_it_was_to_hide(
    record: Record, tmp_path: Path
) -> None:
    closing = record.closing.replace(b'{"trail":"', b'{"trail":"AAAA', 1)
    with pytest.raises(Altered, match="the trail is not the one"):
        verify(record._replace(closing=closing).written(tmp_path / "export"), record.keys)
    lines = list(record.lines)
    lines[5] = lines[5].replace("merchant", "operator")
    found = altered(record._replace(closing=closing), tmp_path / "export", lines)
    assert (found.chain, found.number) == name(record.lines[6])  # the one after it names another


def test_a_checkpoint_is_short_enough_to_be_signed_whatever_was_restored() -> None:
    """KMS takes 4,096 bytes; chains of an incarnation that is over are sealed to their end and told of no more."""
    head = {n: {chain: Head(10**9 + n, "f" * 64) for chain in chains(n)} for n in (1, 2, 3)}
    last = Checkpoint(7, NOW, "0" * 64, (), head[1], jws="x")
    grown = {chain: Head(known.number + 1, "e" * 64) for chain, known in head[1].items()}
    tail = planned(last, {**grown, **head[2]}, NOW)
    assert tail is not None and {span.chain for span in tail.plan} == {*chains(1)}
    last = Checkpoint(8, NOW, "0" * 64, (), grown, jws="x")
    for incarnation in (2, 3):
        plan = planned(last, {**grown, **head[2], **(head[3] if incarnation == 3 else {})}, NOW)
        assert plan is not None and {span.chain for span in plan.plan} == {*chains(incarnation)}
        last = Checkpoint(plan.number, NOW, plan.prev, (), head[incarnation], jws="x")
        jws = signed(ec.generate_private_key(ec.SECP256R1()), CHECKPOINT_TYPE, last.said(()))
        assert len(jws) < 4_096
    assert planned(last, {**grown, **head[2], **head[3]}, NOW) is None


@pytest.mark.parametrize("line", ['{"trail":""}', '{"manifest":{}}', '{"signature":""}', '{"checkpoint":""}', "", "x"])
def test_no_line_hides_between_the_entries_and_what_closes_them(record: Record, tmp_path: Path, line: str) -> None:
    """Whoever reads the entries of a file that was found intact reads nothing else."""
    hidden = canonical({**json.loads(record.lines[-1]), "event": event(10**6)})
    altered(record, tmp_path / "export", [*record.lines, line, hidden])
    found = altered(record, tmp_path / "export", [*record.lines[:9], line, hidden, *record.lines[9:]])
    assert (found.kind, found.chain, found.number) == ("added", *name(record.lines[9]))


def test_a_record_that_was_set_back_behind_a_checkpoint_is_cut_off(tmp_path: Path) -> None:
    """What the table has lost the bucket has not: the checkpoints that were signed still tell of it."""
    record = made(held=ROUNDS - 1)
    found = altered(record, tmp_path / "export", record.lines)
    assert (found.kind, found.chain, found.number) == ("cut off", chains(1)[0], ROUNDS * PER_ROUND + 1)
    gone = made(held=0)
    found = altered(gone, tmp_path / "export", gone.lines)
    assert (found.kind, found.chain, found.number) == ("removed", chains(1)[0], PER_ROUND * 2 + 1)


def test_a_checkpoint_that_was_kept_binds_who_holds_the_signing_key(record: Record, tmp_path: Path) -> None:
    path = record.written(tmp_path / "export")
    signed_in = [json.loads(line)["checkpoint"] for line in record.closing.split(b"\n")[:ROUNDS]]
    for kept in signed_in:
        verify(path, record.keys, kept)
    *_, last = signed_in
    said = json.loads(verifier._decoded(last.split(".")[1]))
    other = {**said, "chains": {**said["chains"], chains(1)[0]: [said["chains"][chains(1)[0]][0], "0" * 64]}}
    for told, kind in ((other, "forked"), ({**said, "number": said["number"] + 1}, "cut off")):
        with pytest.raises(Altered) as found:
            verify(path, record.keys, signed(record.key, CHECKPOINT_TYPE, told))
        assert found.value.kind == kind
    with pytest.raises(CannotVerify, match="begins after checkpoint 1"):
        verify(path, record.keys, signed(record.key, CHECKPOINT_TYPE, {**said, "number": 1}))
    with pytest.raises(Altered, match="the checkpoint that was kept is not what was signed"):
        verify(path, record.keys, last[:-4] + "AAAA")


def test_what_signs_tokens_signs_no_record(record: Record, tmp_path: Path) -> None:
    """The key set has all of Kami's keys, and other functions may sign with the others."""
    path, jwks = record.written(tmp_path / "export"), tmp_path / "jwks.json"
    point = record.key.public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-256", "kid": "k", "x": encoded(point.x.to_bytes(32, "big")),
           "y": encoded(point.y.to_bytes(32, "big"))}  # fmt: skip
    for purpose in ("tokens", "receipts"):
        jwks.write_text(json.dumps({"keys": [{**jwk, "purpose": purpose}, {"kty": "RSA", "kid": "r"}]}))
        with pytest.raises(CannotVerify, match="the key k"):
            verify(path, keys_of(jwks))
    jwks.write_text(json.dumps({"keys": [{**jwk, "purpose": "record"}]}))
    verify(path, keys_of(jwks))


def test_with_a_trail_that_says_nothing_the_checkpoints_tell_where_it_was(record: Record, tmp_path: Path) -> None:
    lines, (chain, number), _ = fork(record.lines, random.Random(3))
    for trail in (b'{"trail":"', b'{"trail":"!'):
        closing = record.closing.replace(b'{"trail":"', trail + b"AAAA", 1)
        found = altered(record._replace(closing=closing), tmp_path / "export", lines)
        assert found.chain == chain
        assert found.number is not None and number <= found.number < number + PER_ROUND


def test_an_older_checkpoint_left_out_is_missed(record: Record, tmp_path: Path) -> None:
    lines = record.closing.split(b"\n")
    for gone in range(ROUNDS):
        closing = b"\n".join(lines[:gone] + lines[gone + 1 :])
        with pytest.raises(Altered, match="checkpoint"):
            verify(record._replace(closing=closing).written(tmp_path / "export"), record.keys)


def test_entries_that_agree_with_the_manifest_but_not_with_a_checkpoint_are_forked(
    record: Record, tmp_path: Path
) -> None:
    """Whoever holds the key could sign another manifest; the checkpoints that were handed out before tell."""
    lines, (chain, number), _ = fork(record.lines, random.Random(1))
    trail = b"".join(hashlib.sha256(line.encode()).digest()[:16] for line in lines)
    closed = record.closing.split(b"\n")
    said = json.loads(closed[-3])["manifest"]
    for run in said["runs"]:
        run[4] = next(hashed(line.encode()) for line in lines if name(line) == (run[0], run[2]))
    said["trail"] = hashlib.sha256(trail).hexdigest()
    told = canonical({"manifest": said}).encode()
    end = closing([], trail, told, signed(record.key, EXPORT_TYPE, said_of("aex_1", NOW, told)))
    forged = record._replace(closing=b"\n".join(closed[:ROUNDS]) + b"\n" + end)
    found = altered(forged, tmp_path / "export", lines)
    assert found.kind == "forked" and found.chain == chain
    assert found.number is not None and number <= found.number < number + PER_ROUND


def test_a_chain_ends_with_the_entry_that_was_signed(record: Record, tmp_path: Path) -> None:
    """A trail holds a part of each hash only; the head, which is whole, stands for all before it."""
    closed = record.closing.split(b"\n")
    said = json.loads(closed[-3])["manifest"]
    said["runs"][1][4] = "0" * 64
    told = canonical({"manifest": said}).encode()
    jws = signed(record.key, EXPORT_TYPE, said_of("aex_1", NOW, told))
    closing = b"\n".join([*closed[:-3], told, b'{"signature":"%b"}\n' % jws.encode()])
    found = altered(record._replace(closing=closing), tmp_path / "export", record.lines)
    assert (found.kind, found.chain, found.number) == ("forked", said["runs"][1][0], said["runs"][1][2])


def test_what_is_signed_by_another_key_is_not_verified(record: Record, tmp_path: Path) -> None:
    path = record.written(tmp_path / "export")
    with pytest.raises(CannotVerify, match="the key k"):
        verify(path, {"other": record.key.public_key()})
    with pytest.raises(Altered, match="not what was signed"):
        verify(path, {"k": ec.generate_private_key(ec.SECP256R1()).public_key()})


NO_EXPORTS = [
    b"",
    b"\n",
    b"\x00" * 100,
    b"{}\n",
    b'{"manifest":1}\n',
    b'{"manifest":"a.b.c"}\n',
    b'{"chain":\n',
    b'{"chain":1}\n',
    b'{"signature":' + b"[" * 100_000 + b"\n",
    b'{"signature":"%b.e30.AA"}\n' % encoded(b"[" * 100_000).encode(),
]


@pytest.mark.parametrize("content", NO_EXPORTS, ids=lambda content: repr(content[:20]))
def test_what_is_no_export_is_not_intact(record: Record, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "export"
    path.write_bytes(content)
    with pytest.raises((Altered, CannotVerify)):
        verify(path, record.keys)


def test_the_command_says_what_it_found_and_its_exit_code_too(record: Record, tmp_path: Path) -> None:
    path, pem, jwks = record.written(tmp_path / "export"), tmp_path / "key.pem", tmp_path / "jwks.json"
    public = record.key.public_key()
    pem.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    point = public.public_numbers()
    jwk: Any = {"kty": "EC", "crv": "P-256", "kid": "k", "x": encoded(point.x.to_bytes(32, "big")),
                "y": encoded(point.y.to_bytes(32, "big"))}  # fmt: skip
    jwks.write_text(json.dumps({"keys": [jwk]}))
    said: list[str] = []
    for key in (pem, jwks):
        assert main([str(path), "--key", str(key)], said.append) == 0
    assert "4 chains, checkpoints 2 to 4, export aex_1 signed at 2027-01-15T08:00:00Z (" in said[-1]
    lines = [*record.lines[:7], *record.lines[8:]]
    assert main([str(record.written(tmp_path / "forged", lines)), "--key", str(pem)], said.append) == 1
    chain, number = name(record.lines[7])
    assert said[-1] == f"ALTERED  chain {chain}, entry {number}: removed: it is missing"
    for missing in ([str(tmp_path / "none"), "--key", str(pem)], [str(path), "--key", str(path)]):
        assert main(missing, said.append) == 2


def test_it_needs_nothing_of_ours_nor_of_anybody_but_cryptography(record: Record, tmp_path: Path) -> None:
    """The file alone, where nothing else is."""
    (tmp_path / "verify.py").write_bytes(Path(verifier.__file__).read_bytes())
    pem = tmp_path / "key.pem"
    pem.write_bytes(record.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    command = [sys.executable, "verify.py", str(record.written(tmp_path / "export")), "--key", str(pem)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("INTACT  144 entries in 4 chains")
