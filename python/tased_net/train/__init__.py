"""Training: the paper's protocol and others, in one process or several, stopped and resumed at will.

`trainer.py` has the loop; beside it stand what a step sees (`draws.py`, `loading.py`, `datasets.py`), what it changes
(`optimise.py`, `statistics.py`), what is written (`folder.py`, `pictures.py`), and who takes part (`processes.py`).

Examples
--------
>>> from tased_net.recipes import load_recipe
>>> from tased_net.train import train
>>> recipe = load_recipe("small", {"data": "DHF1K", "dataset": "dhf1k", "width": 0.25})
>>> train(recipe, "run", progress=True)  # doctest: +SKIP
"""

from .folder import TrainingError
from .trainer import Outcome, train

__all__ = ["Outcome", "TrainingError", "train"]
