"""Exports (导出): a batch's serials with their codes, in files that are encrypted to a recipient's key.

A file holds the codes as they are when it is written; from then on it stays as it is (`store/exports.py`), so that
whoever goes on with an export writes no line a second time and leaves none out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from functions.domain.actor import By
from functions.domain.codes import codes
from functions.domain.lot import Lot
from functions.domain.selection import Span
from functions.domain.serials import LOT_SIZE, parts_of
from functions.domain.voucher import Voucher, standing

LOTS_PER_FILE = 100
QR_LOTS_PER_FILE = 1
"""A QR image takes several times the work and the room of all else in its line."""
QR_QUANTITY_MAX = 1_000_000
KEPT_S = 7 * 86_400
"""The bucket deletes what is older (`infra/data.py`)."""
TICKET_S = 900
MANIFEST = "manifest"


class Layout(StrEnum):
    """How the lines of a file are written: CSV by RFC 4180 with a header, or JSON Lines."""

    CSV = "csv"
    JSONL = "jsonl"


class File(NamedTuple):
    """A file of the positions `first..last` as it lies in the bucket, encrypted: its size and SHA-256.

    `seal` is the SHA-256 of what was encrypted, readable with the batch's key only: from that of a file of one voucher
    its code could be found by trial.
    """

    first: int
    last: int
    size: int
    sha256: str
    seal: bytes


class Manifest(NamedTuple):
    """The manifest as it lies in the bucket."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Export:
    """The order and its progress: `files` grows one by one, then comes the manifest, and all is done.

    `sandbox` is its batch's.
    """

    id: str
    batch: str
    recipient: str
    layout: Layout
    qr: bool
    first: int
    quantity: int
    fingerprint: str
    by: By
    created_at: int
    files: tuple[File, ...] = ()
    manifest: Manifest | None = None
    completed_at: int | None = None
    sandbox: bool = False
    version: int = 0

    @property
    def span(self) -> Span:
        """The batch's vouchers."""
        return Span(self.first, self.first + self.quantity - 1)

    @property
    def plan(self) -> list[Span]:
        """What goes into each of its files."""
        step = (QR_LOTS_PER_FILE if self.qr else LOTS_PER_FILE) * LOT_SIZE
        start = self.span.lots.start * LOT_SIZE
        return [
            Span(max(at, self.span.first), min(at + step - 1, self.span.last))
            for at in range(start, self.span.last + 1, step)
        ]

    @property
    def expires_at(self) -> int:
        """When its first files may be gone."""
        return self.created_at + KEPT_S

    def name(self, file: str) -> str | None:
        """What a file is called: `1`, `2`, … or `manifest`; None where there is no such file, or not yet."""
        if file == MANIFEST:
            return f"{MANIFEST}.json.age" if self.manifest is not None else None
        return f"{file}.{self.layout.value}.age" if file in map(str, range(1, len(self.files) + 1)) else None

    def with_file(self, n: int, file: File) -> Export | None:
        """The export once its nth file (from 0) is there, or None where that is known already."""
        return replace(self, files=(*self.files, file)) if len(self.files) == n else None

    def completed(self, manifest: Manifest, now: int) -> Export | None:
        """The export once its manifest is there, or None where that is known already."""
        return replace(self, manifest=manifest, completed_at=now) if self.manifest is None else None


@dataclass(frozen=True, slots=True)
class Ticket:
    """Lets whoever has its secret fetch one file of one export, once."""

    id: str
    export: str
    sha256: bytes
    by: By
    created_at: int
    expires_at: int
    file: str | None = None
    used_at: int | None = None
    used_by: str | None = None
    version: int = 0


def codes_of(lot: Lot, first: int, last: int, touched: Mapping[int, Voucher], batch_key: bytes, now: int) -> list[str]:
    """The codes of the indexes `first..last`, each of its voucher's own generation.

    `touched` are the vouchers that have items, needed only where a segment's generation is not the first.
    """
    code_format = lot.rules.format
    found = [""] * (last - first + 1)
    for segment in lot.segments:
        low, high = max(first, segment.first), min(last, segment.last)
        if low <= high:
            page = codes(batch_key, code_format, lot.number, segment.generation, low, high)
            found[low - first : high - first + 1] = page
    for generation, indexes in _older(lot, first, last, touched, now).items():
        start = min(indexes)
        page = codes(batch_key, code_format, lot.number, generation, start, max(indexes))
        for index, code in enumerate(page, start):
            if index in indexes:
                found[index - first] = code
    if not all(found):
        raise ValueError(f"lot {lot.number} lacks vouchers of a completed batch")
    return found


def _older(lot: Lot, first: int, last: int, touched: Mapping[int, Voucher], now: int) -> dict[int, set[int]]:
    """Generation → the indexes that outlived the reclaim of their segment in it."""
    older: dict[int, set[int]] = {}
    for index, item in touched.items():
        at = standing(lot, index, item, now) if first <= index <= last else None
        if at is not None and at.voucher.generation != at.segment.generation:
            older.setdefault(at.voucher.generation, set()).add(index)
    return older


class Shape(NamedTuple):
    """What stands around the values of a line, none of which has a character to escape."""

    heading: str
    before: str
    between: str
    images: str
    after: str


SHAPES: dict[tuple[Layout, bool], Shape] = {
    (Layout.CSV, False): Shape("serial,code\r\n", "", ",", "", "\r\n"),
    (Layout.CSV, True): Shape("serial,code,qr\r\n", "", ",", ',"', '"\r\n'),
    (Layout.JSONL, False): Shape("", '{"serial":"', '","code":"', "", '"}\n'),
    (Layout.JSONL, True): Shape("", '{"serial":"', '","code":"', '","qr":"', '"}\n'),
}
"""By layout, and whether there are QR images."""


def lines(shape: Shape, lot: int, first: int, shown: Sequence[str], images: Iterable[str] | None) -> str:
    """The lines of the indexes from `first` on, with images of their codes if there are any."""
    stem, endings = parts_of(lot)
    between, last = shape.between, first + len(shown)
    values = shown if images is None else map(shape.images.join, zip(shown, images, strict=True))
    pairs = [f"{ending}{between}{value}" for ending, value in zip(endings[first:last], values, strict=True)]
    head = shape.before + stem
    return head + (shape.after + head).join(pairs) + shape.after
