"""Recorded agent steps, priced with the prompt cache: where the better tier's calls are placed decides what they cost."""
