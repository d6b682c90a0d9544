"""Loop detection, measured on labelled runs: `make bench-loops CORPUS=dir`."""
