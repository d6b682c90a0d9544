"""Which snapshot decides: the file that the policy names, put there whole, with a history beside it and a line for who did it and why.

    routing.json              the promoted snapshot itself; absent when none is
    routing.json.d/           beside it: every snapshot that was trained or promoted here, by its id, and `audit.jsonl`

Nothing but `promote` and `rollback` writes the file, and whoever decides only reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from governor.errors import RoutingError
from governor.routing.snapshot import Snapshot, dump_snapshot, load_snapshot
from governor.values import cheap

__all__ = ["Audited", "Kept", "Promotions"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One change of what decides."""

    did: Literal["promote", "rollback"]
    id: str
    """The snapshot that decides from then on; empty: none."""
    before: str
    """The one that had decided; empty: none."""
    who: str
    why: str
    at_ms: int

    def document(self) -> dict[str, str | int]:
        """As JSON."""
        return {name: getattr(self, name) for name in type(self).__slots__}


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A snapshot of the history."""

    file: Path
    snapshot: Snapshot
    promoted: bool


class Promotions:
    """The place of one policy's snapshots."""

    def __init__(self, named: Path) -> None:
        """`named`: the file of `routing.snapshot`. Touches nothing."""
        self.named = named
        self.folder = named.with_name(f"{named.name}.d")
        self._audit = self.folder / "audit.jsonl"

    def current(self, *, tiers: Collection[str] | None = None) -> Snapshot | None:
        """The promoted snapshot; None where there is none. Raises RoutingError for one that cannot be used."""
        return load_snapshot(self.named, tiers=tiers) if self.named.exists() else None

    def keep(self, snapshot: Snapshot) -> Path:
        """Put a snapshot into the history, without promoting it. Its file."""
        path = self._file(snapshot.id)
        _put(path, dump_snapshot(snapshot))
        return path

    def find(self, named: str) -> Path:
        """A snapshot by the beginning of its id, or by its file. Raises RoutingError when it is not there, or several are."""
        path = Path(named)
        if path.is_file():
            return path
        head = named.removeprefix("sha256:")
        found = [each for each in self._files() if each.stem.startswith(head)] if head else []
        if len(found) == 1:
            return found[0]
        what = f"{len(found)} snapshots begin with {named}" if found else f"there is no snapshot {named}"
        raise RoutingError(
            f"{what} in {self.folder}", remedy="See `governor route list` for their ids, or name a file."
        )

    def kept(self) -> Sequence[Kept]:
        """The history, oldest first. Raises RoutingError for a file in it that cannot be used."""
        current = self.current()
        found = [Kept(file=each, snapshot=load_snapshot(each), promoted=False) for each in self._files()]
        marked = [
            Kept(
                file=each.file, snapshot=each.snapshot, promoted=current is not None and each.snapshot.id == current.id
            )
            for each in found
        ]
        return sorted(marked, key=lambda each: (each.snapshot.created_ms, each.snapshot.id))

    def audit(self) -> Sequence[Audited]:
        """Who changed what decides, oldest first. Raises RoutingError for a line that cannot be read."""
        if not self._audit.is_file():
            return ()
        found: list[Audited] = []
        for number, line in enumerate(self._audit.read_text(encoding="utf-8").splitlines(), 1):
            try:
                found.append(Audited(**json.loads(line)))
            except (TypeError, ValueError) as error:
                remedy = "Mend the line by hand: what was promoted before is known from here alone."
                raise RoutingError(
                    f"is no audit line ({error})", file=str(self._audit), line=number, remedy=remedy
                ) from None
        return found

    def promote(self, snapshot: Snapshot, *, who: str, why: str, at_ms: int) -> Audited:
        """Let a snapshot decide from the next start of a process on. Raises RoutingError when it decides already."""
        with self._alone():
            current = self.current()
            if current is not None and current.id == snapshot.id:
                raise RoutingError(f"{snapshot.id} is promoted already", remedy="Nothing is to be done.")
            self.keep(snapshot)
            before = current.id if current is not None else ""
            return self._changed(
                Audited(did="promote", id=snapshot.id, before=before, who=who, why=why, at_ms=at_ms), snapshot
            )

    def rollback(self, *, who: str, why: str, at_ms: int) -> Audited:
        """Go back to the snapshot that decided before this one, or to none where it was the first.

        Doing it twice goes back two. Raises RoutingError when nothing is promoted, or the one before is lost.
        """
        with self._alone():
            current = self.current()
            if current is None:
                raise RoutingError(
                    "nothing is promoted", file=str(self.named), remedy="There is nothing to go back from."
                )
            earlier = self._before()
            snapshot = load_snapshot(self._file(earlier)) if earlier else None
            change = Audited(did="rollback", id=earlier, before=current.id, who=who, why=why, at_ms=at_ms)
            return self._changed(change, snapshot)

    def _before(self) -> str:
        """Id of what decided before the current one: a promotion is put on a pile, a rollback takes the topmost off."""
        pile = [""]
        for each in self.audit():
            if each.did == "promote":
                pile.append(each.id)
            elif len(pile) > 1:
                pile.pop()
        return pile[-2] if len(pile) > 1 else ""

    def _changed(self, change: Audited, snapshot: Snapshot | None) -> Audited:
        """Write the line, then the file: a crash between them is seen in `audit`, and what decides is never without its line."""
        with self._audit.open("a", encoding="utf-8") as file:
            file.write(json.dumps(change.document(), ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if snapshot is None:
            self.named.unlink()
        else:
            _put(self.named, dump_snapshot(snapshot))
        return change

    def _file(self, identifier: str) -> Path:
        return self.folder / f"{identifier.removeprefix('sha256:')}.json"

    def _files(self) -> Sequence[Path]:
        return sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other promotions out meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.folder / "promoting.lock"
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            remedy = "Wait for it; if nobody is at it, it was killed: remove the file."
            raise RoutingError("another promotion is under way", file=str(lock), remedy=remedy) from None
        try:
            yield
        finally:
            lock.unlink()


def _put(path: Path, text: str) -> None:
    """Write a file whole: whoever reads it sees the one before or this one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
