"""The policy: what a security team writes, read into frozen, exact, checked values."""
