"""What routing knows and learns: features of a step, estimators of gain, snapshots, guards.

Pure; the control that decides by them is `governor.controls.route`.
"""
