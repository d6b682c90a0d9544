"""The long proofs at full size. `make soak` runs them; `make test` runs a fixed sample of each."""
