"""A provider emulator on loopback: real wire protocols, prompt-cache semantics, its own meter, faults on demand.

Unmodified `ChatBedrockConverse`, `ChatOpenAI` and `ChatAnthropic` talk to it:

    with Sandbox(Scenario.load("support.yaml")) as box:
        model = ChatBedrockConverse(model="us.amazon.nova-pro-v1:0", **box.bedrock_kwargs())
        model.invoke("hello")
        print(box.meter.bill())

It shares no code with governor: what it bills is independent evidence of what governor claims to save. Words:
**scenario** (who answers what), **rule** (when -> reply), **fault** (what fails and when), **record** (one request as the
provider saw it), **bill** (records added up, in nano-USD), **mark** (the beginning of a labelled phase).
"""

from governor_sandbox.cache import CachePlan, PromptCache
from governor_sandbox.catalogue import Catalogue, Model, ModelRow, Price
from governor_sandbox.errors import Rejection, SandboxError, ScenarioError
from governor_sandbox.faults import Fault
from governor_sandbox.matching import MessageMatch, TextMatch, When
from governor_sandbox.meter import Bill, BillLine, Meter, Record, Usage
from governor_sandbox.output import Reply, ScriptedCall
from governor_sandbox.prompt import Conversation, Message, ToolCall, ToolResult
from governor_sandbox.scenario import Scenario
from governor_sandbox.schema import ReplyRow, Rule, ScenarioFile
from governor_sandbox.server import Sandbox
from governor_sandbox.tokens import count

__all__ = [
    "Bill",
    "BillLine",
    "CachePlan",
    "Catalogue",
    "Conversation",
    "Fault",
    "Message",
    "MessageMatch",
    "Meter",
    "Model",
    "ModelRow",
    "Price",
    "PromptCache",
    "Record",
    "Rejection",
    "Reply",
    "ReplyRow",
    "Rule",
    "Sandbox",
    "SandboxError",
    "Scenario",
    "ScenarioError",
    "ScenarioFile",
    "ScriptedCall",
    "TextMatch",
    "ToolCall",
    "ToolResult",
    "Usage",
    "When",
    "count",
]
