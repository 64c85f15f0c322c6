"""Build logs: compressed chunks, capped, with a line that counts what was dropped.

The first 1 MB and the last 15 MB are kept, up to whole chunks (64 kB), never more than 16 MiB.
A chunk ends with a line, but for single lines that are longer than a chunk.
"""

import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from sqlalchemy import bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.clock import in_thread
from bot.deployments.log_pages import LogPages, PageAt, choose, cut_page, plan
from bot.store.database import Database, whole
from bot.store.leases import hold
from bot.store.tables import log_chunks

HEAD_BYTES = 1_000_000
TAIL_BYTES = 15_000_000
CHUNK_BYTES = 65_536


class Place(IntEnum):
    """Where a chunk belongs; the order of reading."""

    HEAD = 0
    GAP = 1
    """One row without text: it counts what was dropped."""
    TAIL = 2


_Stored = tuple[Place, bytes, int, int]
"""A row: where it belongs, its packed text, its size in bytes and its number of lines."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of a log."""

    text: bytes

    @property
    def lines(self) -> int:
        """Line ends in it."""
        return self.text.count(b"\n")


@dataclass(frozen=True, slots=True)
class _Packed:
    """A piece as it is stored."""

    data: bytes
    size_bytes: int
    line_count: int


@dataclass(slots=True)
class _Dropped:
    size_bytes: int = 0
    line_count: int = 0

    def add(self, size_bytes: int, line_count: int) -> None:
        self.size_bytes += size_bytes
        self.line_count += line_count


class SqlLogs:
    """The log of each deployment. Only its owner writes to it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @whole
    async def append(self, deployment_id: str, lines: Sequence[str], *, fence: int) -> None:
        packed = await in_thread(_pack, lines)
        async with self._database.write() as tx:
            await hold(tx.connection, deployment_id, fence)
            await _append(tx.connection, deployment_id, packed)

    @whole
    async def replace(self, deployment_id: str, lines: Sequence[str], *, fence: int) -> None:
        packed = await in_thread(_pack, lines)
        async with self._database.write() as tx:
            await hold(tx.connection, deployment_id, fence)
            await tx.connection.execute(
                delete(log_chunks).where(log_chunks.c.deployment_id == deployment_id)
            )
            await _append(tx.connection, deployment_id, packed)

    @whole
    async def read(self, deployment_id: str) -> str:
        async with self._database.read() as connection:
            rows = await connection.execute(_CHUNKS, {"of": deployment_id})
            stored = [
                (Place(row.part), row.data, row.size_bytes, row.line_count) for row in rows.all()
            ]
        return await in_thread(_join, stored)

    @whole
    async def pages(self, deployment_id: str, first: int | None, most: int = 1) -> LogPages:
        mine = log_chunks.c.deployment_id == deployment_id
        order = (log_chunks.c.part, log_chunks.c.seq)
        async with self._database.snapshot() as connection:
            known = await connection.execute(
                select(
                    log_chunks.c.part,
                    log_chunks.c.seq,
                    log_chunks.c.size_bytes,
                    log_chunks.c.line_count,
                )
                .where(mine)
                .order_by(*order)
            )
            rows = known.all()
            # The row without text is shown as one line.
            sizes = [0 if row.part == Place.GAP else int(row.size_bytes) for row in rows]
            planned = plan(sizes)
            shown = choose(len(planned), first, most)
            chosen = [planned[number] for number in shown]
            wanted = rows[chosen[0].first : chosen[-1].last + 1]
            found = await connection.execute(
                select(log_chunks.c.part, log_chunks.c.seq, log_chunks.c.data)
                .where(mine)
                .where(tuple_(*order).in_([(row.part, row.seq) for row in wanted]))
            )
            data = {(row.part, row.seq): row.data for row in found}
        stored = [
            (Place(row.part), data[row.part, row.seq], row.size_bytes, row.line_count)
            for row in wanted
        ]
        texts = await in_thread(_cut, stored, chosen)
        return LogPages(first=shown[0], texts=texts, count=len(planned), size=sum(sizes))


_MINE = log_chunks.c.deployment_id == bindparam("of")
_CHUNKS = select(log_chunks).where(_MINE).order_by(log_chunks.c.part, log_chunks.c.seq)
_SIZES = (
    select(log_chunks.c.part, func.max(log_chunks.c.seq), func.sum(log_chunks.c.size_bytes))
    .where(_MINE)
    .group_by(log_chunks.c.part)
)


async def _append(
    connection: AsyncConnection, deployment_id: str, packed: Sequence[_Packed]
) -> None:
    found = await connection.execute(_SIZES, {"of": deployment_id})
    known = {Place(part): (seq, int(size)) for part, seq, size in found}
    head_seq, head_size = known.get(Place.HEAD, (-1, 0))
    tail_seq, tail_size = known.get(Place.TAIL, (-1, 0))
    fresh = deque(packed)
    head: list[_Packed] = []
    while fresh and Place.TAIL not in known and head_size < HEAD_BYTES:
        head.append(fresh.popleft())
        head_size += head[-1].size_bytes
    tail_size += sum(piece.size_bytes for piece in fresh)
    dropped, emptied = _Dropped(), True
    if tail_size > TAIL_BYTES:
        tail_size, emptied = await _drop_stored(connection, deployment_id, tail_size, dropped)
    # New text is younger than all stored text, so it is dropped only after all of that.
    while emptied and fresh and tail_size - fresh[0].size_bytes >= TAIL_BYTES:
        piece = fresh.popleft()
        tail_size -= piece.size_bytes
        dropped.add(piece.size_bytes, piece.line_count)
    await _insert(connection, deployment_id, Place.HEAD, head_seq + 1, head)
    await _insert(connection, deployment_id, Place.TAIL, tail_seq + 1, list(fresh))
    await _count(connection, deployment_id, dropped)


async def _drop_stored(
    connection: AsyncConnection, deployment_id: str, tail_size: int, dropped: _Dropped
) -> tuple[int, bool]:
    """Drop the oldest stored chunks of the tail while 15 MB remain, new text included.

    Returns: the tail's size then, and whether nothing stored is left of it.
    """
    tail = (log_chunks.c.deployment_id == deployment_id) & (log_chunks.c.part == Place.TAIL.value)
    stored = await connection.execute(
        select(log_chunks.c.seq, log_chunks.c.size_bytes, log_chunks.c.line_count)
        .where(tail)
        .order_by(log_chunks.c.seq)
    )
    last, emptied = -1, True
    for seq, size, line_count in stored:
        if tail_size - size < TAIL_BYTES:
            emptied = False
            break
        tail_size -= size
        dropped.add(size, line_count)
        last = seq
    if last >= 0:
        await connection.execute(delete(log_chunks).where(tail, log_chunks.c.seq <= last))
    return tail_size, emptied


async def _insert(
    connection: AsyncConnection,
    deployment_id: str,
    place: Place,
    first: int,
    pieces: Sequence[_Packed],
) -> None:
    if not pieces:
        return
    await connection.execute(
        insert(log_chunks),
        [
            {
                "deployment_id": deployment_id,
                "part": place.value,
                "seq": seq,
                "size_bytes": piece.size_bytes,
                "line_count": piece.line_count,
                "data": piece.data,
            }
            for seq, piece in enumerate(pieces, first)
        ],
    )


async def _count(connection: AsyncConnection, deployment_id: str, dropped: _Dropped) -> None:
    """Add to the gap's numbers."""
    if dropped.size_bytes == 0:
        return
    known = await connection.execute(
        update(log_chunks)
        .where(log_chunks.c.deployment_id == deployment_id)
        .where(log_chunks.c.part == Place.GAP.value)
        .values(
            size_bytes=log_chunks.c.size_bytes + dropped.size_bytes,
            line_count=log_chunks.c.line_count + dropped.line_count,
        )
    )
    if known.rowcount == 0:
        await connection.execute(
            insert(log_chunks).values(
                deployment_id=deployment_id,
                part=Place.GAP.value,
                seq=0,
                size_bytes=dropped.size_bytes,
                line_count=dropped.line_count,
                data=b"",
            )
        )


def _pack(lines: Sequence[str]) -> Sequence[_Packed]:
    """Cut and compress. Before the transaction: it must wait for nothing but the database.

    After a restart all of 16 MB may come at once.
    """
    return [_Packed(zlib.compress(one.text), len(one.text), one.lines) for one in cut(lines)]


def cut(lines: Sequence[str]) -> Iterator[Piece]:
    """The lines, each ended by a line feed, in pieces of at most 64 kB."""
    gathered: list[bytes] = []
    size = 0
    for line in lines:
        for part in _fit(line + "\n"):
            if gathered and size + len(part) > CHUNK_BYTES:
                yield Piece(b"".join(gathered))
                gathered, size = [], 0
            gathered.append(part)
            size += len(part)
    if gathered:
        yield Piece(b"".join(gathered))


def _fit(line: str) -> Iterator[bytes]:
    # At most four bytes a character: a quarter of the characters always fits.
    step = CHUNK_BYTES // 4
    for start in range(0, len(line), step):
        yield line[start : start + step].encode(errors="replace")


def _cut(stored: Sequence[_Stored], pages: Sequence[PageAt]) -> Sequence[str]:
    """The texts of these pages; `stored` begins with the first piece of the first one."""
    begin = pages[0].first
    pieces = [_join([one]) for one in stored]
    return [
        cut_page("".join(pieces[page.first - begin : page.last + 1 - begin]), page)
        for page in pages
    ]


def _join(stored: Sequence[_Stored]) -> str:
    text: list[bytes] = []
    for place, data, size_bytes, line_count in stored:
        if place is Place.GAP:
            if text and not text[-1].endswith(b"\n"):
                text.append(b"\n")
            text.append(
                f"… {size_bytes} bytes ({line_count} lines) of the log are not kept …\n".encode()
            )
        else:
            text.append(zlib.decompress(data))
    return b"".join(text).decode()
