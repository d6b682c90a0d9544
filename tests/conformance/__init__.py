"""The suites that LangGraph and LangChain wrote for themselves, run bare and with every graph governed. See `__main__`."""
