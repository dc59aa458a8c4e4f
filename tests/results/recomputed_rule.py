"""The rule that turns the checks of a claim into one word, such as "holds", written in the plainest way.

As in `recomputed`, nothing here uses byrote's analysis, claims or intervals.
"""

import math

from .recomputed import interval, smaller_p

__all__ = ["decide", "verdict"]


def verdict(checks, rows, used, nearly_all=None):
    """Return the verdict on a claim as in verdicts.json; `rows` are reported but do not influence the word."""
    word, text, pooled = decide(checks, nearly_all)
    subjects = dict.fromkeys(check.cell.dataset for check in checks)
    own = {name: [check for check in checks if check.cell.dataset == name] for name in subjects}
    first = checks[0]  # its value is reported if no premise is met
    headline = next((pooled[check.what] for check in checks if check.what in pooled), (first.value, *first.ends))
    return {
        "word": word,
        "verdict": text,
        "statistic": headline[0],
        "interval": list(headline[1:]),
        "runs": len(used),
        "by_dataset": {name: decide(some, nearly_all)[1] for name, some in own.items()},
        "pooled": pooled,
        "details": [*checks, *rows],
    }


def decide(checks, nearly_all=None):
    """Return the word, the text of the verdict, and the pooled estimate and interval of each kind of check."""
    main_kinds = {check.what for check in checks if check.cell.speaks}
    deciding = [check for check in checks if check.cell.speaks or check.what not in main_kinds]
    met = [check for check in deciding if check.n >= 3 and not check.unmet]
    places = list(dict.fromkeys(check.place for check in met))
    if not met:
        return "inconclusive", "inconclusive", {}
    missed = {check.place for check in deciding if check.n >= 3 and check.unmet}
    every_kind = {check.what for check in deciding} == {check.what for check in met}
    may_hold = len(set(places) - missed) >= len(missed) and every_kind
    kinds = list(dict.fromkeys(check.what for check in met))
    pools = {what: pool([check for check in met if check.what == what]) for what in kinds}
    pooled = {what: tuple(map(math.tanh, one[:3])) if one[4] == "atanh" else one[:3] for what, one in pools.items()}
    if nearly_all is not None:
        word = of_nearly_all(met, nearly_all, may_hold)
        return word, word, pooled
    pooled_rejects = [one[3] <= 0.0125 / len(kinds) for one in pools.values()]
    level = 0.025 if len(met) == 1 or all(pooled_rejects) else 0.0125
    named = {check.place for check in holm(met, level)}
    wrong = {check.place for check in met if check.wrong}
    not_inside = {check.place for check in met if not check.inside}
    if not not_inside and may_hold:
        return "holds", "holds", pooled
    if (named or any(pooled_rejects)) and 2 * len(wrong) > len(places):
        return "fails", "fails", pooled
    if not named:
        return "inconclusive", "inconclusive", pooled
    if may_hold and not_inside <= named:
        return "holds except", f"holds except in {len(named)} of {len(places)} cells", pooled
    return "fails in", f"fails in {len(named)} of {len(places)} cells", pooled


def holm(checks, level):
    """Holm's step-down test: compare ascending p-values with level / (number left), up to the first failure."""
    rejected = []
    for check in sorted(checks, key=lambda check: check.p_outside):
        if check.p_outside > level / (len(checks) - len(rejected)):
            break
        rejected.append(check)
    return rejected


def pool(checks):
    """Return the mean over cells, its interval, the p for being outside, and the scale; shared seeds count once."""
    cell_count = len({check.place for check in checks})
    weights = [1 / cell_count / sum(other.place == check.place for other in checks) for check in checks]
    value = sum(weight * check.value for weight, check in zip(weights, checks, strict=True))
    total = 0.0
    for seed in {seed for check in checks for seed in check.values}:
        shift = 0.0
        for weight, check in zip(weights, checks, strict=True):
            if seed in check.values:
                shift += weight * (check.values[seed] - check.value) / math.sqrt(check.n * (check.n - 1))
        total += shift**2
    error = max(math.sqrt(total), sum(weight * check.floor for weight, check in zip(weights, checks, strict=True)))
    df = min(check.n for check in checks) - 1
    return value, *interval(value, error, df), smaller_p(value, error, df, checks[0].region), checks[0].scale


def of_nearly_all(checks, share, may_hold):
    """Bonferroni's tests of partial conjunctions: are at least u = ceil(share k) of the k cells in the region?"""
    k = len(checks)
    u = math.ceil(share * k)
    inside, outside = sorted(check.p_inside for check in checks), sorted(check.p_outside for check in checks)
    if u * outside[k - u] <= 0.025:
        return "fails"
    return "holds" if (k - u + 1) * inside[u - 1] <= 0.025 and may_hold else "inconclusive"
