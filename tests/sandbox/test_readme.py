"""The README's scenario is one that loads."""

import re
from pathlib import Path

from governor_sandbox import Scenario

README = Path(__file__).parents[2] / "integrations" / "governor_sandbox" / "README.md"


def test_every_yaml_block_is_a_scenario() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)

    assert ["support desk"] == [Scenario.from_text(block).name for block in blocks]
