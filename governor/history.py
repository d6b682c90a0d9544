"""The history of one lane, kept from call to call so that each call adds work for its new messages alone.

A graph hands over its whole list of messages at every model call. Converting, estimating and rendering all of them each time would
make a run of N calls cost N squared; here only messages not seen before are converted, and the check that the rest is unchanged
runs at C speed.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from governor.calls import History
from governor.prefix import digest_of, rolled_on, unrolled
from governor.values import cheap, maker, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.calls import Message

__all__ = ["HistoryMemo"]

_history = maker(History)

T = TypeVar("T")

_content = itemgetter("content")
_NO_CONTENT: dict[str, object] = {"content": None}


@cheap
@dataclass(frozen=True, slots=True)
class _Seen:
    """One source with all that was worked out for it, for reuse when it moves to another position."""

    source: object
    print: object
    shown: Message
    rendered: object
    excess: int
    digest: int


class HistoryMemo:
    """What one lane was shown so far. Mutable, and for one caller at a time: whoever shares it between threads holds a lock.

    Histories handed out stay valid: the lists behind them only grow, and are replaced, never cut, when the messages diverge.
    """

    def __init__(
        self,
        *,
        render: Callable[[Message], object] | None = None,
        fingerprint: Callable[[object], object] | None = None,
    ) -> None:
        """Start empty.

        Args:
            render: Makes the vendor's message of a shown one, once; the results are in `rendered`.
            fingerprint: A value of a source that differs once it was edited in place. Absent: the `content` in its `__dict__`,
                which notices that another text was assigned, but not that a list of content blocks was changed from inside.
        """
        self.rendered: list[object] = []
        """Rendered messages in step with the latest history; may go on beyond it. None each without `render`."""
        self.placed: dict[str, Any] = {}
        """For whoever renders: messages in another form than the history's, by key."""
        self._render = render
        self._fingerprint = fingerprint
        self._sources: list[object] = []
        self._fields: list[dict[str, object]] = []
        self._prints: list[object] = []
        self._shown: list[Message] = []
        """As `show` answered them; in `_messages` equal keys are told apart."""
        self._messages: list[Message] = []
        self._cumulative: list[int] = []
        self._index: dict[str, int] = {}
        self._spoken: list[int] = []
        self._media: list[int] = []
        self._rolled = array("Q")
        self._excess = array("Q")
        self._moves = 0
        """Messages with lines that are sent at the tail."""
        self._replaced: tuple[int, Message] | None = None

    def extend(
        self,
        sources: Sequence[object],
        convert: Callable[[object], Message],
        show: Callable[[Message], tuple[Message, str | None]],
    ) -> tuple[History, tuple[tuple[str, str], ...]]:
        """The history of `sources`, and what was elided for the first time as (handle, full text).

        Messages are told apart by key: a key that occurs again gets `#2`, `#3`, ... by occurrence.

        Args:
            sources: The graph's messages, all of them, oldest first.
            convert: Reads a message of the vendor.
            show: The form in which a message is shown, and the handle of what that leaves out (`Compact.show`).
        """
        same = self._common(sources)
        while same < min(len(self._sources), len(sources)) and self._swapped(same, sources[same], convert, show):
            same = self._common(sources)
        reuse: dict[int, _Seen] = {}
        if same < min(len(self._sources), len(sources)):
            reuse = self._rewind(same)
        elided: list[tuple[str, str]] = []
        for source in sources[len(self._sources) :]:
            fields = _fields_of(source)
            print_ = self._fingerprint(source) if self._fingerprint else fields["content"]
            seen = reuse.get(id(source)) if reuse else None
            if seen is not None and seen.print == print_:
                shown, rendered, excess, digest = seen.shown, seen.rendered, seen.excess, seen.digest
            else:
                converted = convert(source)
                shown, handle = show(converted)
                excess = (
                    0 if shown.moved else max(0, converted.tokens - shown.tokens)
                )  # what moved is sent all the same
                digest = digest_of(shown)
                if handle is not None:
                    elided.append((handle, converted.text))
                rendered = self._render(shown) if self._render else None
            self._sources.append(source)
            self._fields.append(fields)
            self._prints.append(print_)
            self._excess.append(excess + (self._excess[-1] if self._excess else 0))
            self._append(shown, rendered, digest)
        messages = tuple(_first(self._messages, len(sources)))
        history = _history(
            messages=messages,
            cumulative=self._cumulative,
            index=self._index,
            spoken=self._spoken,
            media=self._media,
            rolled=self._rolled,
            replaced=self._replaced,
            excess=self._excess,
            moved=self._moves > 0,
        )
        return history, tuple(elided)

    def _swapped(
        self,
        position: int,
        source: object,
        convert: Callable[[object], Message],
        show: Callable[[Message], tuple[Message, str | None]],
    ) -> bool:
        """Put a source in the place of another that is shown in the same words, whatever of it is sent at the tail.

        A clock in the system text is another one at each call: what comes after it must not be gone through again for that.
        """
        was = self._messages[position]
        if was.role != "system" or not was.moved:
            return False
        shown, _ = show(convert(source))
        if not shown.moved or (shown.role, shown.text, shown.opaque) != (was.role, was.text, was.opaque):
            return False
        self._sources[position], self._fields[position] = source, _fields_of(source)
        self._prints[position] = self._print_of(source)
        self._shown[position] = shown
        self._messages[position] = replace(shown, key=was.key, tokens=was.tokens)
        self.rendered = [*self.rendered]  # those handed out are another call's
        self.rendered[position] = self._render(shown) if self._render else None
        return True

    def _common(self, sources: Sequence[object]) -> int:
        """How many leading sources are those of last time, unedited.

        Comparing whole lists is the fastest walk there is, because it tries identity first; only lists that differ are walked in
        Python. Equal copies (a checkpoint read again) count as the same, and are adopted so that identity finds them next time.
        """
        count = min(len(self._sources), len(sources))
        head = sources[:count] if isinstance(sources, list) else list(sources[:count])
        known = _first(self._sources, count)
        if head == known and self._prints_of(count) == _first(self._prints, count):
            if count and head[-1] is not known[-1]:
                self._adopt(head)
            return count
        return next(
            (i for i, source in enumerate(head) if source != known[i] or self._print_of(source) != self._prints[i]),
            count,
        )

    def _prints_of(self, count: int) -> list[object]:
        """Fingerprints of the first `count` sources as they are now."""
        if self._fingerprint is None:
            return list(map(_content, _first(self._fields, count)))
        return list(map(self._fingerprint, _first(self._sources, count)))

    def _print_of(self, source: object) -> object:
        return self._fingerprint(source) if self._fingerprint else _fields_of(source)["content"]

    def _adopt(self, sources: list[object]) -> None:
        self._sources[: len(sources)] = sources
        self._fields[: len(sources)] = map(_fields_of, sources)

    def _rewind(self, count: int) -> dict[int, _Seen]:
        """Keep the first `count` messages, in new lists; answers what was known of the others, by identity of their sources."""
        before = [0, *self._excess]
        excess = [after - before[position] for position, after in enumerate(self._excess)]
        others = zip(
            self._sources[count:],
            self._prints[count:],
            self._shown[count:],
            self.rendered[count:],
            excess[count:],
            [unrolled(self._rolled, position) for position in range(count, len(self._rolled))],
            strict=True,
        )
        self._replaced = (count, self._messages[count])
        reuse = {id(each[0]): _Seen(*each) for each in others}
        self._sources = self._sources[:count]
        self._fields = self._fields[:count]
        self._prints = self._prints[:count]
        self._shown = self._shown[:count]
        self._messages = self._messages[:count]
        self._cumulative = self._cumulative[:count]
        self.rendered = self.rendered[:count]
        self._spoken = [position for position in self._spoken if position < count]
        self._media = [position for position in self._media if position < count]
        self._rolled = self._rolled[:count]
        self._excess = self._excess[:count]
        self._moves = sum([1 for message in self._messages[:count] if message.moved])
        self._index = {message.key: position for position, message in enumerate(self._messages)}
        return reuse

    def _append(self, shown: Message, rendered: object, digest: int) -> None:
        message = shown
        if message.key in self._index:
            message = replace(message, key=self._free_key(message.key))
        self._index[message.key] = len(self._messages)
        if message.moved:
            self._moves += 1
        if message.pinned or message.role in ("system", "user"):
            self._spoken.append(len(self._messages))
        if message.media:
            self._media.append(len(self._messages))
        self._shown.append(shown)
        self._messages.append(message)
        self._rolled.append(rolled_on(self._rolled[-1] if self._rolled else 0, digest))
        self._cumulative.append((self._cumulative[-1] if self._cumulative else 0) + message.tokens)
        self.rendered.append(rendered)

    def _free_key(self, key: str) -> str:
        occurrence = 2
        while f"{key}#{occurrence}" in self._index:
            occurrence += 1
        return f"{key}#{occurrence}"


def _first(items: list[T], count: int) -> list[T]:
    """The first `count` items; the list itself when those are all, because the common call must not copy."""
    return items if count >= len(items) else items[:count]


def _fields_of(source: object) -> dict[str, object]:
    """The attributes of a source. The dictionary itself is kept: reading it is twice as fast as reading the attribute."""
    fields: dict[str, object] | None = getattr(source, "__dict__", None)
    return fields if fields is not None and "content" in fields else _NO_CONTENT
