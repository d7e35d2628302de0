"""Predictions of test rows: our models, LightGBM and FuxiCTR's, on one split of each log.

Prepare the logs first, `python -m benchmarks.logs --data DATA --out PREPARED`. Then

    python -m benchmarks.predictions --data PREPARED --out DIR
    python -m benchmarks.predictions --data PREPARED --out DIR --trials 30
    python -m benchmarks.predictions --out DIR --report

train each model on each log with default settings, the same with the best settings of 30 trials,
and print the tables of what is there. `--logs criteo,frappe`, `--models LR,FuxiCTR:DeepFM` and
`--seeds 1` take a part of it, or more: any of our models, and FuxiCTR's that its layers make.

A job is a log, a model and a seed. It leaves a line in `DIR/results.jsonl` and its test scores in
`DIR/scores`; what is there is not trained again, but for jobs that failed. Seeds start from 0,
after trials from 1, as the trials themselves have seed 0. Our models are tuned by
`ctr_keras.tuning.tune`, which trains three finalists and the defaults again with three other seeds;
LightGBM and FuxiCTR's models by as many random trials as are trainings in all, the same ones on all
logs, of which the first has the default settings. `GBDTLR` and `GBDTFFM` stand on the trees of the
LightGBM job with the same seed and trials, which has to be there: `--models LightGBM,GBDTLR`.

All get the same rows, ids and numbers, without crossed columns. FuxiCTR trains in a process and an
environment of its own, which is made at first (some GB below `--environments`); each field has an
embedding for missing values, lists are averaged, numbers multiplied with a vector. Sequences are in
`left_out`: FuxiCTR's models do not get them, and ours of the same names do not read them. Its
settings are those of its model zoo (see `peers/predict_fuxictr.py`), but its `AutoInt_default` has
a tower and so is compared with our AutoInt+; without the tower it is AutoInt. Its vectors of
numbers start with a spread of 1 or so, too much for numbers that reach 200, as Criteo's do: the
models of `FuxiCTR-z` get numbers with mean 0 and deviation 1, as its own preprocessing can.

Seconds are those of training, without evaluations (LightGBM's with them), up to the best one and
in all. Ours contain parsing TFRecords and building the step, FuxiCTR's rows are in memory.
"""
