"""The README's scenario is one that loads."""

import re
from pathlib import Path

import governor_sandbox
from governor_sandbox import Scenario


def test_every_yaml_block_is_a_scenario() -> None:
    text = (Path(governor_sandbox.__file__).parent / "README.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)

    assert ["support desk"] == [Scenario.from_text(block).name for block in blocks]
