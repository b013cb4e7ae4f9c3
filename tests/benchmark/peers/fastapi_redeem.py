"""Peer of the CPU per redemption: FastAPI and SQLAlchemy 2 (async ORM, SELECT … FOR UPDATE) on PostgreSQL.

The same redemption as Kami's: the same token check, a strict body, wrong codes limited, a code compared by its keyed
hash, replays under an Idempotency-Key answered first, single use or balance. uvicorn serves it and logs a line each.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import BigInteger, ForeignKey, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship

from functions.domain.errors import Refusal
from functions.domain.ids import derived, fingerprint
from functions.edge.tokens import Caller, verify

WINDOW_S, WRONG_MAX = 900, 5
PEPPER = b"a key that a deployment would hold in a secret"

engine = create_async_engine(os.environ["DATABASE_URL"])
Session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class Base(DeclarativeBase):
    pass


class Campaign(Base):
    __tablename__ = "campaigns"

    id: Mapped[int] = mapped_column(primary_key=True)
    redemption: Mapped[str]
    currency: Mapped[str]
    valid_until: Mapped[int] = mapped_column(BigInteger)


class Voucher(Base):
    __tablename__ = "vouchers"

    serial: Mapped[str] = mapped_column(primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(unique=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey(Campaign.id))
    status: Mapped[str]
    balance_minor: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int]
    campaign: Mapped[Campaign] = relationship()


class Redemption(Base):
    __tablename__ = "redemptions"

    id: Mapped[str] = mapped_column(primary_key=True)
    serial: Mapped[str] = mapped_column(ForeignKey(Voucher.serial))
    client: Mapped[str]
    fingerprint: Mapped[str]
    account_type: Mapped[str]
    account_number: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    balance_minor: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    store: Mapped[str | None]
    terminal: Mapped[str | None]


class Guard(Base):
    __tablename__ = "guards"

    subject: Mapped[str] = mapped_column(primary_key=True)
    window: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    wrong: Mapped[int]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Account(Strict):
    type: Literal["mobile", "broadband"]
    number: str = Field(min_length=4, max_length=64)


class RedemptionRequest(Strict):
    code: str = Field(max_length=64)
    account: Account
    amount_minor: int | None = Field(default=None, ge=1)
    store: str | None = Field(default=None, max_length=64)
    terminal: str | None = Field(default=None, max_length=64)


class RedemptionAnswer(BaseModel):
    id: str
    serial: str
    account_type: str
    amount_minor: int
    currency: str
    balance_minor: int
    status: str
    created_at: int
    store: str | None
    terminal: str | None


def caller(authorization: Annotated[str, Header()]) -> Caller:
    """Whom the token speaks for."""
    try:
        found = verify(authorization, int(time.time()))
    except Refusal as refusal:
        raise HTTPException(401, refusal.key) from None
    if "vouchers:redeem" not in found.scopes:
        raise HTTPException(403, "insufficient_scope")
    return found


async def prepare(codes: list[str]) -> None:
    """A schema with a voucher of CNY 50.00 for each code."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with Session.begin() as db:
        db.add(Campaign(id=1, redemption="single", currency="CNY", valid_until=2**40))
        await db.flush()
        db.add_all(
            Voucher(serial=f"{n:012d}", code_hash=code_hash(code), campaign_id=1, status="active",
                    balance_minor=5_000, version=0)
            for n, code in enumerate(codes)
        )  # fmt: skip


async def session() -> AsyncIterator[AsyncSession]:
    """One transaction a request."""
    async with Session() as opened:
        yield opened


def code_hash(code: str) -> bytes:
    """What the table holds of a code."""
    return hmac.digest(PEPPER, code.upper().replace("-", "").encode(), hashlib.sha256)


@app.post("/v1/redemptions", status_code=201)
async def create_redemption(
    request: RedemptionRequest,
    client: Annotated[Caller, Depends(caller)],
    key: Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=255)],
    db: Annotated[AsyncSession, Depends(session)],
) -> RedemptionAnswer:
    now = int(time.time())
    window, subject = now // WINDOW_S, f"{client.client} {request.account.number}"
    guard = await db.get(Guard, (subject, window))
    if guard is not None and guard.wrong >= WRONG_MAX:
        raise HTTPException(429, "too_many_attempts")
    voucher = await db.scalar(
        select(Voucher)
        .options(joinedload(Voucher.campaign, innerjoin=True))
        .where(Voucher.code_hash == code_hash(request.code))
        .with_for_update(of=Voucher)
    )
    if voucher is None:
        counted = insert(Guard).values(subject=subject, window=window, wrong=1)
        again = counted.on_conflict_do_update(index_elements=["subject", "window"], set_={"wrong": Guard.wrong + 1})
        await db.execute(again)
        await db.commit()
        raise HTTPException(404, "voucher_not_redeemable")
    body = fingerprint(request.model_dump(exclude={"code"}))
    id = f"{voucher.serial}-{derived(client.client, key, voucher.serial)}"
    redemption = await db.get(Redemption, id)
    if redemption is not None and redemption.fingerprint != body:
        raise HTTPException(422, "idempotency_key_reused")
    if redemption is None:
        redemption = _redeemed(voucher, id, request, client, body, now)
        db.add(redemption)
        await db.commit()
    return RedemptionAnswer(
        id=redemption.id,
        serial=redemption.serial,
        account_type=redemption.account_type,
        amount_minor=redemption.amount_minor,
        currency=voucher.campaign.currency,
        balance_minor=redemption.balance_minor,
        status="completed",
        created_at=redemption.created_at,
        store=redemption.store,
        terminal=redemption.terminal,
    )


def _redeemed(voucher: Voucher, id: str, request: RedemptionRequest, client: Caller, body: str, now: int) -> Redemption:
    if voucher.status == "redeemed":
        raise HTTPException(409, "already_redeemed")
    if voucher.status not in ("active", "partly_redeemed"):
        raise HTTPException(404, "voucher_not_redeemable")
    if now >= voucher.campaign.valid_until:
        raise HTTPException(410, "voucher_expired")
    amount = voucher.balance_minor if request.amount_minor is None else request.amount_minor
    if amount > voucher.balance_minor:
        raise HTTPException(409, "amount_exceeds_balance")
    if voucher.campaign.redemption == "single" and amount != voucher.balance_minor:
        raise HTTPException(409, "partial_not_allowed")
    voucher.balance_minor -= amount
    voucher.status = "partly_redeemed" if voucher.balance_minor else "redeemed"
    voucher.version += 1
    return Redemption(
        id=id,
        serial=voucher.serial,
        client=client.client,
        fingerprint=body,
        account_type=request.account.type,
        account_number=request.account.number,
        amount_minor=amount,
        balance_minor=voucher.balance_minor,
        created_at=now,
        store=request.store,
        terminal=request.terminal,
    )
