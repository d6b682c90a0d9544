"""Stores: one contract, in memory and in SQLite; `governor_redis` adds the fleet's."""
