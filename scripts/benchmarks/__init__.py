"""What the keeper costs in time and gas, measured in one run against what else there is: `scripts/bench`.

Other work on the same machine moves every time, so medians are shown and ratios count.
"""
