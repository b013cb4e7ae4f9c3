"""What is kept of imports: their items and those of their codes, the bucket of uploads, the key of blind indexes.

A module of its own, for functions that redeem must not pay for it at their start.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from botocore.exceptions import ClientError

from functions.domain.imported import Imported
from functions.domain.imports import LINK_S, Import, Refusals
from functions.store import keys
from functions.store.aws import client
from functions.store.table import Entity

IMPORT: Entity[Import] = Entity("import", Import, key=lambda i: keys.import_(i.id))
REFUSALS: Entity[Refusals] = Entity("refusals", Refusals, key=lambda r: keys.refused(r.id, r.last))
IMPORTED: Entity[Imported] = Entity(
    "imported",
    Imported,
    key=lambda i: keys.code(i.blind_index),
    index=lambda i: keys.imported(i.position),
)

UPLOADS_BUCKET = "UPLOADS_BUCKET"
INDEX_SECRET_ARN = "INDEX_SECRET_ARN"
CONTENT_TYPE = "text/csv"
PIECE_BYTES = 2**20
_CACHED_FOR_S = 300.0

_index_key: tuple[float, bytes] | None = None


class Upload(NamedTuple):
    """A file as it lies in the bucket: its size in bytes, and the tag of its content."""

    size: int
    etag: str


class UploadGone(Exception):  # noqa: N818 - it was there
    """The upload is not there any more, or not what it was."""


def index_key() -> bytes:
    """The key of blind indexes, the same for the whole deployment and for good."""
    global _index_key
    if _index_key is None or time.monotonic() > _index_key[0]:
        reply = client("secretsmanager").get_secret_value(SecretId=os.environ[INDEX_SECRET_ARN])
        _index_key = (time.monotonic() + _CACHED_FOR_S, reply["SecretString"].encode())
    return _index_key[1]


def upload_headers(size: int) -> dict[str, str]:
    """What an upload is sent with; it is refused without, and once there is one."""
    return {"Content-Type": CONTENT_TYPE, "Content-Length": str(size), "If-None-Match": "*"}


def upload_link(id: str, size: int) -> str:
    """Where a file of exactly this size may be put, once, without credentials, for `LINK_S` seconds."""
    asked = {
        "Bucket": os.environ[UPLOADS_BUCKET],
        "Key": id,
        "ContentType": CONTENT_TYPE,
        "ContentLength": size,
        "IfNoneMatch": "*",
    }
    address: str = client("s3").generate_presigned_url("put_object", Params=asked, ExpiresIn=LINK_S)
    return address


def uploaded(id: str) -> Upload | None:
    """The upload, if it is there. Listed, for a look at what is not there would be refused like what is forbidden."""
    found = client("s3").list_objects_v2(Bucket=os.environ[UPLOADS_BUCKET], Prefix=id, MaxKeys=1)
    return next((Upload(one["Size"], one["ETag"]) for one in found.get("Contents", []) if one["Key"] == id), None)


def pieces(id: str, upload: Upload, start: int) -> Iterator[bytes]:
    """The upload from a byte on, a piece at a time. Raises UploadGone."""
    for at in range(start, upload.size, PIECE_BYTES):
        end = min(at + PIECE_BYTES, upload.size) - 1
        try:
            part = client("s3").get_object(
                Bucket=os.environ[UPLOADS_BUCKET], Key=id, Range=f"bytes={at}-{end}", IfMatch=upload.etag
            )
        except ClientError as refused:
            if refused.response["Error"]["Code"] in ("NoSuchKey", "PreconditionFailed"):
                raise UploadGone from None
            raise
        yield part["Body"].read()


def forget(id: str) -> None:
    """Delete the upload; it may be gone already."""
    client("s3").delete_object(Bucket=os.environ[UPLOADS_BUCKET], Key=id)
