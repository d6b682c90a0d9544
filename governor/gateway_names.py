"""Model names of gateways that speak OpenAI's format: which vendor's model stands behind `anthropic/claude-sonnet-4-6`.

Such a gateway takes the vendor's name before a slash. The names are those of Cloudflare AI Gateway's provider list
(developers.cloudflare.com/ai-gateway/chat-completion, `workers-ai/@cf/...` included) and of LiteLLM's providers
(docs.litellm.ai/docs/providers).
An alias that says nothing (`dynamic/<route>`, `@slug/model` of Portkey, a LiteLLM model group) stands for no model: its price is
unknown until the policy says what it `serves`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.calls import ModelRef

__all__ = ["RESOLD_BY", "behind", "same_model"]

RESOLD_BY = frozenset({"openai", "litellm"})
"""Providers, as tiers name them, whose client is pointed at gateways that resell others' models."""

_VENDORS: Mapping[str, str] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure_openai",
    "azure_openai": "azure_openai",
    "bedrock": "bedrock_converse",
    "bedrock_converse": "bedrock_converse",
    "aws-bedrock": "bedrock_converse",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "fireworks_ai": "fireworks",
    "gemini": "google_genai",
    "google": "google_genai",
    "google-ai-studio": "google_genai",
    "google_genai": "google_genai",
    "google-vertex-ai": "google_vertexai",
    "google_vertexai": "google_vertexai",
    "vertex_ai": "google_vertexai",
    "grok": "xai",
    "xai": "xai",
    "groq": "groq",
    "mistral": "mistralai",
    "mistralai": "mistralai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "perplexity-ai": "perplexity",
    "together": "together",
    "together_ai": "together",
    "workers-ai": "workers_ai",
}
"""A gateway's word for a vendor to the provider whose price list holds."""

_REGIONS = ("global.", "us.", "eu.", "apac.", "jp.", "au.", "ca.", "us-gov.")
"""Prefixes of Bedrock's system-defined inference profiles."""


def behind(model: ModelRef) -> ModelRef:
    """The vendor's own model behind a name that a gateway takes; the model itself where the name says nothing.

    LiteLLM writes a route between the vendor and the model (`bedrock/converse/...`, `vertex_ai/...`); Google's models on Vertex AI are
    named `google/...` by Cloudflare.
    """
    if model.provider not in RESOLD_BY or "/" not in model.model:
        return model
    vendor, _, name = model.model.partition("/")
    provider = _VENDORS.get(vendor.lower())
    if provider is None:
        return model
    route, _, rest = name.partition("/")
    if rest and (
        (provider == "bedrock_converse" and route == "converse")
        or (provider == "google_vertexai" and route == "google")
    ):
        name = rest
    return replace(model, provider=provider, model=name)


def same_model(answered: str, served: str) -> bool:
    """Whether an answer's name for its model is that of `served`: with or without a vendor, an ARN's front, a date or a version behind it.

    A region's prefix on one of the two is no difference: routers name the foundation model that a profile led to.
    """
    one, other = _plain(answered), _plain(served)
    if one == other or _unregional(one) == other or one == _unregional(other):
        return True
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    rest = longer.removeprefix(shorter)
    return rest != longer and _is_version(rest)


def _plain(name: str) -> str:
    return name.rsplit("/", 1)[-1].lower()


def _unregional(name: str) -> str:
    return next((name.removeprefix(region) for region in _REGIONS if name.startswith(region)), name)


def _is_version(rest: str) -> bool:
    """`-2024-08-06`, `-20250929-v1:0`, `-latest`, `@20250929`: digits and version letters alone, so that `-mini` is another model."""
    if rest[0] not in "-@:":
        return False
    parts = rest[1:].replace(":", "-").replace("@", "-").split("-")
    return all(part == "latest" or part.removeprefix("v").isdecimal() for part in parts)
