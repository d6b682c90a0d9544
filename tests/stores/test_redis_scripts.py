"""What every script of the Redis store keeps to, whatever it does."""

from governor_redis.packing import _PARTS, script


def test_no_script_makes_up_a_key() -> None:
    for name in _PARTS:
        for line in script(name).splitlines():
            called = line.partition("redis.call(")[2]
            if called and not called.startswith("'TIME'"):
                key = called.split(",")[1].strip().rstrip(")")
                declared = {"META", "LEDGERS", "LEASES", "DUE", "ENDS", "NAMES", "INDEX", "run", "queue"}
                assert key in declared or key.startswith("KEYS[")
