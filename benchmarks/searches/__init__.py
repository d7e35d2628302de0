"""Models on what searches find, next to plain ones: the papers' tables, and those of real logs.

Prepare the logs first, `python -m benchmarks.logs --data DATA --out DIR`. Then

    python -m benchmarks.searches --data DIR --out RUNS --name coupons --table logs-fm --seeds 5

searches and trains what is not done yet (what was killed goes on), prints a JSON line for each run
and then the table. By default it is the main table of the papers of AutoFIS and AIM; with
`--table` it is another one:

- `logs-fm`, `logs-deepfm`, `logs-aim`: the model on what AutoFIS or AIM finds, on as many random
  interactions, and on those of best statistics_AUC
- `logs-optinter`: OptInter on the methods of its search, not trained again, and on random methods;
  its extremes, and other models with as many parameters as it has. Needs all pairs crossed, in
  `DIR/crossed`:
  `python -m benchmarks.logs --data DATA --out DIR/crossed --cross-min-count 5 --log coupons`
- `aim`: AIM's ablations, its third order, and what it has found in DeepFM and IPNN
- `autofield`: FM and DeepFM on the fields that AutoField keeps, and on as many random ones
- `autofeature`: AutoFeature on the cells of its search, on the same at other pairs, and on products
  of all pairs
- `autogroup`: AutoGroup on the groups of its search, on random ones as large, and on all fields
- `autoint`: AutoInt with and without residual connections
- `stability`: how alike the gates of AutoFIS are that searches with different seeds end with

Tables of `logs` have the settings that training and searching have by default, the others
those of `benchmarks.searches.tables`. Where a model has a plain one to be compared with, the table
has the difference of their AUC, its interval for other test rows, and the p-value of the paired
t-test over seeds.
"""
