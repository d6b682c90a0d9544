"""A process that spends from a shared SQLite store. Started by `test_processes`; speaks one word per line on stdout."""

import sys

from governor.ledger import Charge, Lease, ReserveRequest
from governor.stores.sqlite import SqliteStore
from governor.testing import START_MS, hold


def main(path: str, name: str, times: int, limit: int, *, settle: bool) -> None:
    store = SqliteStore(path)
    sys.stdin.readline()  # all workers begin together
    for number in range(times):
        lease = f"{name}-{number}"
        request = ReserveRequest(
            id=lease, holds=(hold("org/o", 10, limit), hold("run/a", 10, limit)), ttl_ms=60_000, now_ms=START_MS
        )
        answer = store.reserve(request)
        print("admitted" if isinstance(answer, Lease) else "refused", flush=True)
        if settle:
            store.settle(Charge(lease=lease, amounts=(7, 7), now_ms=START_MS))
            print("settled", flush=True)
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), settle=sys.argv[5] == "settle")
