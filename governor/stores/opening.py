"""Stores by address: `memory:`, `sqlite:///governor.db`, `redis://host:6379/0`; what commands and `govern(store=...)` are told.

Further kinds come through the entry point group `governor.stores`: the name is the scheme, the object a function of the whole address
that answers a store. Two parameters are read here, whatever the kind: `slices=1%` grants from slices (`SlicedStore`), and for SQLite
`durable=true` waits for the disk at each commit.
"""

from __future__ import annotations

import os
import re
from decimal import Decimal, InvalidOperation
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from governor.errors import ConfigurationError
from governor.stores.memory import MemoryStore
from governor.stores.slices import SlicedStore
from governor.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from governor.stores.contract import Store

__all__ = ["VARIABLE", "address_of", "open_store", "without_password"]

VARIABLE = "GOVERNOR_STORE"
"""Environment variable with the address of the store, for who gives none."""
_GROUP = "governor.stores"
_FORMS = (
    "Write memory:, sqlite:///relative.db, sqlite:////absolute.db, a path that ends in .db, or redis://host:6379/0."
)


def address_of(given: str | None) -> str | None:
    """The address that was given, else the one of the environment, else None."""
    return given or os.environ.get(VARIABLE) or None


def open_store(address: str) -> Store:
    """The store at an address. Nothing is connected yet. Raises ConfigurationError for an address that nobody serves."""
    if "://" not in address and not address.startswith("memory:"):
        return SqliteStore(_path(address))
    try:
        parts = urlsplit(address)
    except ValueError:  # it quotes what it could not read
        raise _unreadable(address, "this is no address") from None
    options = dict(parse_qsl(parts.query))
    slices = options.pop("slices", None)
    store = _plain(parts, options, address)
    return store if slices is None else SlicedStore(store, share_permille=_permille(slices, address))


def without_password(address: str) -> str:
    """The address as it may be shown: neither its user and password nor its query, where they may be as well."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    place, *query = re.split("[?#]", rest, maxsplit=1)
    if query and "@" in query[0]:  # of a password or of a query: nobody can tell where the secret ends
        return f"{scheme}://..."
    user, at, host = place.rpartition("@")  # the last `@`: a password may hold one, or a slash, that nobody encoded
    return f"{scheme}://{'***@' if user or at else ''}{host}{'?...' if query else ''}"


def _plain(parts: SplitResult, options: dict[str, str], address: str) -> Store:
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "sqlite":
        durable = options.pop("durable", "false")
        if options or durable not in ("true", "false") or parts.netloc:
            raise _unreadable(address, "sqlite knows durable=true|false and slices=1%, and no host")
        return SqliteStore(_path(unquote(parts.path.removeprefix("/"))), durable=durable == "true")
    query = urlencode(options)
    for entry in entry_points(group=_GROUP):
        if entry.name == parts.scheme:
            try:
                opened: Store = entry.load()(urlunsplit(parts._replace(query=query)))
            except ImportError as error:
                raise ConfigurationError(
                    f"{without_password(address)}: {error}. Install it: pip install 'langgraph-governor[{entry.name}]'"
                ) from error
            return opened
    raise _unreadable(address, f"nothing serves {parts.scheme}: here")


def _path(text: str) -> Path:
    if not text or Path(text).suffix not in (".db", ".sqlite", ".sqlite3"):
        raise _unreadable(text, "a SQLite file ends in .db, .sqlite or .sqlite3")
    return Path(text)


def _permille(text: str, address: str) -> int:
    try:
        permille = Decimal(text.removesuffix("%")) * 10
    except InvalidOperation:
        permille = Decimal(0)
    if permille != int(permille) or not 1 <= permille <= 100:
        raise _unreadable(address, f"slices={text} is no share from 0.1% to 10%")
    return int(permille)


def _unreadable(address: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{without_password(address) or 'an empty address'}: {why}. {_FORMS}")
