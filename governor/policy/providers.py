"""Names that may stand before the colon of a tier's `model`."""

from __future__ import annotations

__all__ = ["KNOWN_PROVIDERS"]

KNOWN_PROVIDERS = frozenset(
    {
        # what init_chat_model builds a client for: langchain 1.5.0, langchain/chat_models/base.py, _BUILTIN_PROVIDERS
        "anthropic",
        "anthropic_bedrock",
        "azure_ai",
        "azure_openai",
        "baseten",
        "bedrock",
        "bedrock_converse",
        "bedrock_mantle_anthropic",
        "bedrock_mantle_openai",
        "cohere",
        "deepseek",
        "fireworks",
        "google_anthropic_vertex",
        "google_genai",
        "google_vertexai",
        "groq",
        "huggingface",
        "ibm",
        "langsmith",
        "litellm",
        "meta",
        "mistralai",
        "nvidia",
        "ollama",
        "openai",
        "openrouter",
        "perplexity",
        "together",
        "upstage",
        "xai",
        # packages of LangChain's that are not in that table: langchain-amazon-nova, langchain-cerebras
        "amazon_nova",
        "cerebras",
        # what ChatBedrockConverse calls its provider in tracing; governor builds it too
        "amazon_bedrock",
    }
)
"""Others work where an integration package is installed that init_chat_model finds by name, so that an unknown one is a warning."""
