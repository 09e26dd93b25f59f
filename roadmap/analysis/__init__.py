"""Analysis: tables, statistics and figures from the result files of runs. Independent of the training code."""
