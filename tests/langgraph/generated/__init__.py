"""Graphs made up at random and run both ways, bare and governed by a policy that allows everything: no difference is allowed."""
