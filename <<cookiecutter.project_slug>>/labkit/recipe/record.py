"""The history of a recipe, as it stands in the tracking store: only ever added to.

Each execution leaves runs in the experiment named like the study, tied together by MLflow's own ``mlflow.parentRunId``::

    recipe run                 one a call of `recipe` that had something to do
    └── step run               one a step that was executed or judged again
        └── experiment run     one a training of the step

**Tags**, on all three: ``labkit.recipe``, the recipe's name, and ``labkit.recipe.role``, which is ``recipe``, ``step`` or
``experiment``. As on every run, ``labkit.state`` says where it stands. Steps and their experiments have ``labkit.step``, the
step's name. A step that has come to its end also has ``labkit.step.outcome``: ``passed``, ``failed`` (a check did not
hold) or ``error`` (an exception).

**recipe.json**, an artifact of the recipe run, written when it begins, after each step and at the end: how the recipe
stands::

    {"recipe": "my_research",
     "steps": [{"name": "overfit",
                "position": 4,                      # from 0
                "state": "stale",                   # not run, running, interrupted, up to date, stale, failed
                "reasons": ["function my_research.model.cnn changed"],
                "run_id": "05f3…",                  # the step run that counts, or null
                "outcome": "passed",                # of that run, or null
                "verdicts": [...]}]}                # of that run, as below

**step.json**, an artifact of a step run, written once, when the step has come to its end::

    {"name": "overfit",
     "position": 4,
     "identity": "9f0c…",                           # of name and configuration
     "outcome": "passed",
     "configuration": {"duration": "20 epochs"},
     "scores": {"train/accuracy": 1.0},             # numbers; also metrics of the step run, at step 0
     "data": {"candidates": [{"name": "dropout"}]}, # all else that is plain
     "faults": {"model": "a Linear cannot be stored"},
     "verdicts": [{"check": "train/accuracy at least 0.99",
                   "value": 1.0,                    # what was judged, or null where it is missing
                   "threshold": 0.99,               # what it was compared with: a number, a list of them, or null
                   "holds": true,
                   "reason": "train/accuracy is 1, at least 0.99"}],
     "error": null,                                 # or "ValueError: ..."; the traceback is logs/traceback.txt
     "experiments": ["7f5d…"],                      # run ids, in the order in which they began
     "seconds": 3.2,
     "judged_again": null,                          # or the id of the step run whose results these are
     "fingerprint": {"code": {"function my_research.model.cnn": "51ab…"},
                     "arguments": {"duration": "20 epochs"},
                     "data": {"footprint": "65f1…"},
                     "dependencies": {"torch": "2.13.0"},
                     "before": {"explore data": "c0de…"}}}  # the steps before it, as they were

Numbers that JSON has not are the texts ``NaN``, ``Infinity`` and ``-Infinity``. Pictures of a step or of an experiment are
artifacts under ``figures/``, statistics of tensors over time are metrics of the experiment run under ``inspection/``.
"""
