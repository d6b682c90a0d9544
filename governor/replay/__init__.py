"""What-if on recorded runs: where the controls of a policy would have acted, had it governed them.

`read` takes a file of recorded runs, in any of the formats it knows; `Replay` puts each run through the path of `pipeline` with the policy
in observe mode, so that every control judges as it would live and the recorded run goes on to its end. What the agent would have done
differently after a first intervention, nobody knows: a replay does not change the record.
"""

from governor.replay.formats import read
from governor.replay.judging import Replay
from governor.replay.recorded import Recorded, TraceError, Traces
from governor.replay.report import Act, Judged, summary

__all__ = ["Act", "Judged", "Recorded", "Replay", "TraceError", "Traces", "read", "summary"]
