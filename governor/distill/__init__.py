"""The teacher's good runs as data to train a student on, and which nodes are worth one.

Pure: `exported` takes recorded runs (`governor.replay`) and gives lines of files, what was left out and why, and the report. Reading and
writing is the command's (`governor distill export`). Nothing is lost: every model call of every run is in a file, is part of the
conversation of one, or is among the rejected with its reason.
"""

from governor.distill.export import Chosen, Export, exported
from governor.distill.labels import Label, LabelRows, Where, read_labels
from governor.distill.worth import Worth

__all__ = ["Chosen", "Export", "Label", "LabelRows", "Where", "Worth", "exported", "read_labels"]
