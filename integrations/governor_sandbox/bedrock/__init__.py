"""Amazon Bedrock: Converse, ConverseStream, CountTokens."""

from governor_sandbox.bedrock.dialect import Bedrock

__all__ = ["Bedrock"]
