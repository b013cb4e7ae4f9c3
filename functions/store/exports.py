"""What is kept of exports: their items, and the bucket of their files, which are encrypted before they get there.

A module of its own, for functions that redeem must not pay for it at their start.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple

from botocore.exceptions import ClientError

from functions.domain.export import Export, Ticket
from functions.store import keys
from functions.store.aws import client
from functions.store.table import Entity

EXPORT: Entity[Export] = Entity("export", Export, key=lambda e: keys.export(e.id))
TICKET: Entity[Ticket] = Entity("ticket", Ticket, key=lambda t: keys.ticket(t.export, t.id))

EXPORTS_BUCKET = "EXPORTS_BUCKET"
LINK_S = 60
CONFLICTS_MAX = 3
"""S3 answers 409 where another put of the same key ends at that moment; it is tried again so many times."""
AGE = "application/vnd.age"


class Stored(NamedTuple):
    """An object as it lies in the bucket: its size in bytes, and what was written about it."""

    size: int
    about: dict[str, str]


def put_once(
    key: str,
    body: BinaryIO,
    size: int,
    about: Mapping[str, str],
    *,
    bucket: str = EXPORTS_BUCKET,
    media_type: str = AGE,
) -> Stored:
    """Write an object unless it is there already, into the bucket that the variable `bucket` names.

    Gives what is there then, its own or that of whoever came first. So two workers at once, and one that does not know
    whether its last try arrived, all go on from the same object.
    """
    s3, place = client("s3"), os.environ[bucket]
    for conflicts in range(CONFLICTS_MAX):
        body.seek(0)
        try:
            s3.put_object(
                Bucket=place,
                Key=key,
                Body=body,
                ContentLength=size,
                ContentType=media_type,
                Metadata=about,
                IfNoneMatch="*",
            )
        except ClientError as refused:
            match refused.response["Error"]["Code"]:
                case "PreconditionFailed":
                    there = s3.head_object(Bucket=place, Key=key)
                    return Stored(there["ContentLength"], there["Metadata"])
                case "ConditionalRequestConflict" if conflicts + 1 < CONFLICTS_MAX:
                    continue
            raise
        return Stored(size, dict(about))
    raise AssertionError("unreachable")


def link(key: str, name: str) -> str:
    """An address from which the object may be fetched without credentials for `LINK_S` seconds, as a file of a name."""
    asked = {
        "Bucket": os.environ[EXPORTS_BUCKET],
        "Key": key,
        "ResponseContentDisposition": f'attachment; filename="{name}"',
    }
    address: str = client("s3").generate_presigned_url("get_object", Params=asked, ExpiresIn=LINK_S)
    return address
