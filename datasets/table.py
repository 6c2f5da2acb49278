"""The episode table: which rows belong to which episode, how each ended, and the commit that makes it exist.

``meta/episode_ends`` holds the end row of every episode, uncompressed int64. ``meta/episodes/<block>`` are groups whose
attribute ``episodes`` lists one record per episode (outcome, instruction, meta, checksums), ``BLOCK`` records each.

Committing an episode writes, in this order and each file as a whole: its record, its end, and then the *length* of
``meta/episode_ends`` in that array's ``zarr.json``. Replacing this one small file is the commit. Killed before it, the
store has the old length and everything longer is a torn tail that no Zarr reader sees; killed after it, the episode is
there. ``meta/partial`` notes how much of the episode being recorded is already in the arrays (see ``writer.py``).
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import StoreCorrupt
from robot_learning.datasets.durable import sync_folder, write_atomic
from robot_learning.datasets.plain import digest, dump, from_plain

BLOCK = 64
"""Episodes per block of records: what one commit rewrites."""

ENDS_CHUNK = 1024
"""Episode ends per chunk of ``meta/episode_ends``."""


class EpisodeTable:
    """Episode ends and records of one store.

    Attributes:
        ends: End row of every committed episode, int64 ``[e]``.
        records: One record per committed episode.
    """

    def __init__(self, root: Path) -> None:
        self._meta = root / "meta"
        self.ends: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.records: list[dict[str, Any]] = []
        self.load()

    def load(self) -> None:
        """Read the committed state; raises :class:`StoreCorrupt` where ends and records disagree."""
        self.ends = self._read_ends()
        self.records = []
        for block in range(-(-len(self.ends) // BLOCK)):
            wanted = min(BLOCK, len(self.ends) - block * BLOCK)
            records = self._read_block(block)
            if len(records) < wanted:
                first = block * BLOCK + len(records)
                raise StoreCorrupt(
                    f"{self._block_path(block)}: expected records of {wanted} episodes, got {len(records)}: "
                    f"episode {first} and later ones cannot be read; restore the file from a copy"
                )
            self.records += records[:wanted]

    @property
    def rows(self) -> int:
        """Return the number of committed rows."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def bounds(self, episode: int) -> tuple[int, int]:
        """Return first and past-the-end row of ``episode``."""
        return int(self.ends[episode - 1]) if episode > 0 else 0, int(self.ends[episode])

    def commit(self, end: int, record: Mapping[str, Any]) -> None:
        """Make the episode that ends at row ``end`` exist. Its arrays must be on the disk already."""
        count = len(self.ends)
        record = {**record, "digest": digest(record)}
        ends = np.append(self.ends, np.int64(end))
        block, chunk = count // BLOCK, count // ENDS_CHUNK
        block_path = self._block_path(block)
        is_new = not block_path.parent.exists()
        write_atomic(block_path, _group({"episodes": [*self.records[block * BLOCK :], record]}))
        padded = np.zeros(ENDS_CHUNK, dtype="<i8")
        tail = ends[chunk * ENDS_CHUNK :]
        padded[: len(tail)] = tail
        folder = self._meta / "episode_ends"
        write_atomic(folder / f"c.{chunk}", padded.tobytes())
        for path in (block_path.parent, folder, *((block_path.parent.parent,) if is_new else ())):
            sync_folder(path)
        write_atomic(folder / "zarr.json", _with_length(folder / "zarr.json", count + 1))
        sync_folder(folder)
        self.ends, self.records = ends, [*self.records, from_plain(json.loads(dump(record)))]

    def lost(self) -> int:
        """Return how many episodes have a record but no end, beyond the one that a killed commit leaves.

        Records are written before ends, so reading them first keeps a live writer from being mistaken for damage.
        """
        blocks = [int(folder.name) for folder in (self._meta / "episodes").iterdir() if folder.name.isdecimal()]
        recorded = max(blocks) * BLOCK + len(self._read_block(max(blocks))) if blocks else 0
        return max(0, recorded - 1 - len(self._read_ends()))

    def check_complete(self) -> None:
        """Raise where ends of committed episodes are gone: what looks like a torn tail holds finished episodes."""
        lost = self.lost()
        if lost:
            raise StoreCorrupt(
                f"{self._meta / 'episode_ends'}: expected the ends of {len(self.ends) + lost} episodes or more, "
                f"got {len(self.ends)}; restore the folder from a copy. Nothing was cut"
            )

    def read_partial(self) -> dict[str, Any] | None:
        """Return the note about an episode that was being recorded after the last commit, if there is one."""
        try:
            note = from_plain(json.loads((self._meta / "partial" / "zarr.json").read_text())["attributes"])
        except (FileNotFoundError, ValueError):
            return None
        return dict(note) if note.get("start") == self.rows else None

    def write_partial(self, note: Mapping[str, Any]) -> None:
        """Note how far the episode being recorded is in the arrays."""
        write_atomic(self._meta / "partial" / "zarr.json", _group(note))

    def clear_partial(self) -> None:
        """Forget the note."""
        folder = self._meta / "partial"
        if folder.exists():
            shutil.rmtree(folder)
            sync_folder(self._meta)  # a note that comes back after a power cut would claim another episode's rows

    def _block_path(self, block: int) -> Path:
        return self._meta / "episodes" / f"{block:06d}" / "zarr.json"

    def _read_block(self, block: int) -> list[dict[str, Any]]:
        path = self._block_path(block)
        try:
            return list(from_plain(json.loads(path.read_text())["attributes"]["episodes"]))
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise StoreCorrupt(f"{path}: expected a list of episode records, got {error!r}") from error

    def _read_ends(self) -> NDArray[np.int64]:
        folder = self._meta / "episode_ends"
        try:
            length = int(json.loads((folder / "zarr.json").read_text())["shape"][0])
            chunks = [(folder / f"c.{chunk}").read_bytes() for chunk in range(-(-length // ENDS_CHUNK))]
        except (OSError, ValueError, KeyError) as error:
            raise StoreCorrupt(f"{folder}: expected the end of every episode, got {error!r}") from error
        ends = np.frombuffer(b"".join(chunks), dtype="<i8")[:length].astype(np.int64)
        wrong = np.flatnonzero(np.diff(ends, prepend=0) <= 0)
        if len(ends) != length or len(wrong):
            at = f"; episode {wrong[0]} ends at or before its start" if len(wrong) else ""
            raise StoreCorrupt(f"{folder}: expected {length} rising ends, got {len(ends)}{at}; restore it from a copy")
        return ends


def _group(attributes: Mapping[str, Any]) -> bytes:
    return dump({"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})


def _with_length(path: Path, length: int) -> bytes:
    return dump({**json.loads(path.read_text()), "shape": [length]})
