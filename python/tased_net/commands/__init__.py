"""The commands of `tased`, a module each: `add` describes it to argparse, `run` does it and returns the exit status.

What cannot be carried out as it was asked for, `run` raises as a `UsageError` or a `WeightsError`; `cli.main` makes of it a sentence
and status 2.
"""
