"""The ``application/vnd.amazon.eventstream`` frame that Bedrock streams in; botocore ships only the decoder.

[total u32][headers u32][crc32 of those 8 bytes] headers payload [crc32 of everything before], all big-endian.
"""

from __future__ import annotations

import json
import struct
from binascii import crc32
from collections.abc import Mapping
from typing import Any

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7
_FIXED_BYTES = 16


def event(name: str, payload: Mapping[str, Any]) -> bytes:
    """A normal event, such as ``contentBlockDelta``."""
    return frame({":event-type": name, ":content-type": "application/json", ":message-type": "event"}, _json(payload))


def exception(name: str, message: str) -> bytes:
    """An error in mid-stream, such as ``modelStreamErrorException``; botocore raises it as EventStreamError."""
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, _json({"message": message}))


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Encode one message with string headers."""
    packed = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", _FIXED_BYTES + len(packed) + len(payload), len(packed))
    body = prelude + struct.pack(">I", crc32(prelude)) + packed + payload
    return body + struct.pack(">I", crc32(body))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", _STRING, len(text)) + text


def _json(payload: Mapping[str, Any]) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
