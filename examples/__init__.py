"""Programs to read and run, offline; a test asserts each."""
