"""A picture of runs of ``equal_quality.py``: mel distance by time and by steps.

python benchmarks/equal_quality_plot.py equal_*.jsonl --out picture.png
"""

import argparse
import json
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

COLOURS = {"published": "tab:gray", "ours": "tab:red"}
MARKS = ("o", "s", "^", "v")
TICKS = (300, 600, 1000, 2000, 4000, 6000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    matplotlib.use("Agg")
    figure, panels = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
    for log in options.logs:
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        arm, seed = rows[0]["arm"], rows[0]["seed"]
        for panel, x in zip(panels, ("seconds", "steps"), strict=True):
            at, look = [row[x] for row in rows], {"color": COLOURS[arm], "marker": MARKS[seed % len(MARKS)], "ms": 4}
            panel.plot(at, [row["averaged_mel"] for row in rows], label=f"{arm}, seed {seed}", **look)
            panel.plot(at, [row["mel"] for row in rows], ls="", alpha=0.35, **look)
            panel.set_xlabel({"seconds": "seconds of training, one GPU", "steps": "steps"}[x])
    panels[1].set_xscale("log")
    panels[1].minorticks_off()
    panels[1].set_xticks(TICKS, [str(tick) for tick in TICKS])
    panels[0].set_ylabel("mel distance at 6 kbit/s")
    panels[0].legend(title="weights averaged (faint: as they are)")
    for panel in panels:
        panel.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
