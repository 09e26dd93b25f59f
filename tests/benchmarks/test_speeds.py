"""The README's table of speeds says what the committed timings say."""

import json
import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"\| ([\d.]+) \(([\d.]+) to ([\d.]+)\) \| (\d+) \|$", re.MULTILINE)


def test_every_speed_in_the_readme_is_a_committed_result() -> None:
    measured = set()
    for path in (ROOT / "benchmarks/results").glob("*.json"):
        for pair in json.loads(path.read_text())["pairs"]:
            ratios = np.divide(pair["peer_seconds"], pair["ours_seconds"])
            low, median, high = np.percentile(ratios, (25, 50, 75))
            measured.add((f"{median:.2f}", f"{low:.2f}", f"{high:.2f}", str(len(ratios))))
    told = ROW.findall((ROOT / "README.md").read_text())
    assert len(told) == 10
    assert set(told) <= measured
