"""What compaction and caching cost, on recorded runs: `make bench-context CORPUS=dir`."""
