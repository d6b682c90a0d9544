"""The mediation matrix: ways of calling models and tools x kinds of graphs x ways of running them, generated."""
