"""Gateways in front of the sandbox's providers: Cloudflare AI Gateway, LiteLLM's proxy, Portkey."""

from governor_sandbox.gateways.cloudflare import Cloudflare
from governor_sandbox.gateways.front import Front, Turned
from governor_sandbox.gateways.litellm import LiteLLM
from governor_sandbox.gateways.portkey import Portkey

__all__ = ["Cloudflare", "Front", "LiteLLM", "Portkey", "Turned"]
