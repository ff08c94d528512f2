"""The commands of `tased`, a module each: `add` describes it to argparse, `run` does it and returns the exit status."""
