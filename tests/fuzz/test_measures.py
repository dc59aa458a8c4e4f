"""Measures of random labels, logits and features give the expected number, or an error of one sentence."""

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from measures.oracles import plain_nc1

from byrote import measures
from byrote.measures import ClassMoments, FeatureSet, MomentStream, SampleHistory

from .harness import Case, Refused, fuzz
from .values import batch_of, classes, features, labels, logits, number


def size(case: Case) -> tuple[int, int]:
    """Draw the number of samples (often small) and the number of classes."""
    return case.pick([0, 1, 2, 3, case.int(4, 40), case.int(4, 40)]), case.pick([1, 2, 2, 3, 10])


def same(value: float, wanted: float, tolerance: float = 1e-9) -> bool:
    """Whether two numbers are equal up to rounding; NaN equals NaN."""
    return value == wanted or (value != value and wanted != wanted) or abs(value - wanted) <= tolerance * abs(wanted)


def share(hits: np.ndarray) -> float:
    return float(np.mean(hits)) if len(hits) else math.nan


@fuzz(165)
def test_agreement(case: Case) -> None:
    """`j1`, `j2` and `fates` are correct for labels in any container."""
    n, N = size(case)
    columns = [classes(case, n, N) for _ in range(3)]
    if case.chance(0.05) and n:
        columns[2] = columns[2][1:]
    (p, ok), (y, fine), (o, good) = (_unbounded(labels(case, column, N)) for column in columns)
    predicted, true, observed = columns
    for measure in (measures.j1, measures.j2):
        measured = case.call(measure, p, y)
        assert isinstance(measured, Refused) != (ok and fine), measured
        if ok and fine:
            assert same(measured, share(predicted == true)), measured
    measured = case.call(measures.fates, p, y, o)
    whole = ok and fine and good and len(observed) == n
    assert isinstance(measured, Refused) != whole, measured
    if whole:
        corrupted = true != observed
        assert measured.count == corrupted.sum()
        assert same(measured.realised_rate, share(corrupted))
        assert same(measured.corrupted_as_observed, share((predicted == observed)[corrupted]))
        assert same(measured.corrupted_as_true, share((predicted == true)[corrupted]))
        assert same(measured.clean_accuracy, share((predicted == observed)[~corrupted]))


def _unbounded(drawn: tuple[Any, bool]) -> tuple[Any, bool]:
    """Replace a label that is too large, which is legal without a number of classes, by a negative label."""
    value, taken = drawn
    if taken or not isinstance(value, np.ndarray | torch.Tensor | list | pd.Series):
        return value, taken
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):  # rows of unequal length, or bfloat16
        return value, False
    legal = array.ndim == 1 and array.dtype.kind in "iu" and (array >= 0).all() and (array < 2**63).all()
    return (-1 - array.astype(np.int64) if legal else value), False


@fuzz(100)
def test_memorization(case: Case) -> None:
    """mem and all its readings equal loops over samples."""
    n, N = size(case)
    M = case.pick([1, 2, 5])
    true, observed = classes(case, n, N), classes(case, n, N + case.pick([0, 0, 1]))
    observed[:1] = 0  # otherwise labels from 1 to N would be read as class numbers that start at 1
    h, eps, seen = batch_of(case, features(case, true, M, N))
    means = case.rng.normal(size=(N, M)) * 10.0 ** case.int(-3, 3)
    holes = case.chance(0.1) and n
    if holes:
        at = case.int(0, n - 1)
        h = torch.as_tensor(seen).clone()
        h[at, 0] = seen[at, 0] = case.pick([math.nan, math.inf, -math.inf])
    if case.chance(0.1):
        h = case.pick([h[1:] if n else h[:, :0], torch.zeros(n, M + 1), torch.zeros(n), None, [["a"] * M] * n])
        assert isinstance(case.call(measures.memorization, h, true, observed, torch.from_numpy(means)), Refused) or (
            n == 0 and isinstance(h, list)
        )
        return
    y, fine = labels(case, true, N, 0.85)
    measured = case.call(measures.memorization, h, y, observed, case.pick([means, torch.from_numpy(means)]))
    assert isinstance(measured, Refused) != fine, measured
    if not fine:
        return
    away = np.array([math.dist(seen[i], means[true[i]]) if np.isfinite(seen[i]).all() else math.nan for i in range(n)])
    bad = true != observed
    D = share(np.array([math.dist(means[i], means[j]) for i in range(N) for j in range(i)]))
    assert measured.count == bad.sum()
    assert same(measured.total, float(away[bad].sum()))
    assert same(measured.mean, share(away[bad]))
    assert same(measured.noise_weighted, away[bad].sum() / n if n else math.nan)
    assert same(measured.clean_mean, share(away[~bad]))
    assert same(measured.class_distance, D)
    if eps > 1e-6:  # class means of coarse features may be treated as equal
        return
    assert same(measured.relative, share(away[bad]) / D) or N < 2
    if observed.max(initial=0) < N:
        between = np.array([math.dist(means[observed[i]], means[true[i]]) for i in range(n)])
        assert same(measured.observed_ratio, share(away[bad] / between[bad]))


def slow_rate(z: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Compute the estimate and the classifier's own error sample by sample, from the formula of `noise_rate`."""
    n, N = z.shape
    k, top = (N - 1) // 2, z.argmax(1)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    lead = [z[i, top[i]] - np.log(np.exp(np.delete(z[i], top[i])).sum()) for i in range(n)]
    surest = sorted(range(n), key=lambda i: -lead[i])[: max(int(0.25 * n), 1)]
    hits = 0
    for i in surest:
        confused = sum(p[j] for j in surest if top[j] == top[i])
        hits += y[i] in np.argsort(confused, kind="stable")[:k]
    rate = min(hits / len(surest) * (N - 1) / k, 1.0)
    slack = 1 - rate - rate / (N - 1)
    own = min(max((float((top != y).mean()) - rate) / slack, 0.0), 1.0) if slack > 0 else 1.0
    return rate, own


@fuzz(100)
def test_noise_rate(case: Case) -> None:
    """The estimated rate equals the formula, sample by sample; its interval contains it and is within [0, 1]."""
    n, N = case.pick([0, 1, 2, case.int(3, 150)]), case.pick([2, 3, 4, 10])
    z = logits(case, n, N, 10.0 ** case.int(-1, 1))
    y = np.where(case.rng.random(n) < 0.8, z.argmax(1) if n else 0, classes(case, n, N))
    x, _, seen = batch_of(case, z)
    spoiled = n and case.chance(0.15)
    if spoiled:
        x = torch.from_numpy(z)
        x[case.int(0, n - 1), case.int(0, N - 1)] = case.pick([math.nan, math.inf, -math.inf])
    shape = case.chance(0.1)
    if shape:
        x = case.pick([torch.zeros(n, N + 1), torch.zeros(n + 1, N), torch.zeros(n), torch.zeros(n, N, 1)])
    o, fine = labels(case, y, N, 0.85)
    if case.chance(0.2):
        z = seen
    estimate = case.call(measures.noise_rate, x, o, N, **({"confidence": number(case)} if case.chance(0.1) else {}))
    if spoiled or shape or not fine:
        assert isinstance(estimate, Refused), estimate
        return
    if isinstance(estimate, Refused):
        assert "confidence" in case.calls[-1], estimate
        return
    if n and N > 2:
        rate, own = slow_rate(seen, y)
        rounded = len(np.unique(seen)) < seen.size  # ties between coarse numbers may be broken differently
        assert rounded or same(estimate.rate, rate), (estimate.rate, rate)
        assert rounded or same(estimate.own_error, own), (estimate.own_error, own)
    if estimate.verdict == "stated":
        assert 0 < estimate.low <= estimate.rate <= estimate.high <= 1, estimate
    else:
        assert math.isnan(estimate.low), estimate
        assert math.isnan(estimate.high), estimate


@fuzz(100)
def test_history(case: Case) -> None:
    """Learned and forgotten counts and margins equal a loop over samples; a refused batch changes nothing."""
    n, N = case.int(1, 12), case.pick([2, 3, 5])
    true, observed = classes(case, n, N), classes(case, n, N)
    t, fine = _unbounded(labels(case, true, N, 0.9))
    history = case.call(SampleHistory.start, t, observed)
    assert isinstance(history, Refused) != fine, history
    if not fine:
        return
    learned, forgotten, last, margin = [0] * n, [0] * n, [-1] * n, [[] for _ in range(n)]
    for epoch in range(1, case.int(2, 4)):
        rows = case.rng.permutation(n)[: case.int(1, n)]
        z = logits(case, len(rows), N)
        index, indexed = labels(case, rows, n, 0.9)
        if index is None:  # all samples, in the original order
            continue
        bad = case.chance(0.15)
        if bad:
            z[case.int(0, len(rows) - 1)] = case.pick([math.nan, math.inf, -math.inf])
        after = case.call(history.after, epoch, torch.from_numpy(z), index)
        assert isinstance(after, Refused) == (bad or not indexed), after
        if isinstance(after, Refused):
            continue
        history = after
        for i, row in zip(rows, z, strict=True):
            right = row.argmax() == observed[i]
            learned[i] = learned[i] or (epoch if right else 0)
            forgotten[i] += last[i] == observed[i] and not right
            last[i] = row.argmax()
            margin[i].append(row[observed[i]] - np.delete(row, observed[i]).max())
    assert history.learned_epoch.tolist() == learned
    assert history.forgotten.tolist() == forgotten
    assert history.predicted.tolist() == last
    np.testing.assert_allclose(history.aum.numpy(), [np.mean(m) if m else math.nan for m in margin], rtol=1e-12)


@fuzz(130)
def test_moments(case: Case) -> None:
    """Class moments of chunks in any order equal those of the whole, and NC1 equals that of whole matrices."""
    n, N = size(case)
    M = case.pick([1, 2, 3, 8])
    y = classes(case, n, N)
    h, eps, seen = batch_of(case, features(case, y, M, N))
    o, fine = labels(case, y, N, 0.85)
    spoiled = bool(n) and case.chance(0.1)
    if spoiled:
        h = torch.from_numpy(seen.copy())
        h[case.int(0, n - 1), case.int(0, M - 1)] = case.pick([math.nan, math.inf])
    counts = np.bincount(y, minlength=N)
    whole = case.call(ClassMoments.of, h, o, N, counts if case.chance(0.5) else counts.tolist())
    assert isinstance(whole, Refused) != fine, whole
    if not fine:
        return
    assert whole.counts.tolist() == counts.tolist()
    if spoiled or not n:
        assert math.isnan(measures.nc1(whole))
        return
    means = np.array([seen[y == k].mean(0) if counts[k] else np.full(M, math.nan) for k in range(N)])
    np.testing.assert_allclose(whole.means, means, rtol=1e-9, atol=1e-9)
    scatter = sum((seen[y == k] - means[k]).T @ (seen[y == k] - means[k]) / counts[k] for k in range(N) if counts[k])
    np.testing.assert_allclose(whole.scatter, scatter, rtol=1e-8, atol=1e-8 * np.abs(scatter).max())
    _check_parts(case, whole, seen, y, N, counts)
    _check_nc1(case, whole, h, seen, y, N, eps)


def _check_parts(case: Case, whole: ClassMoments, h: np.ndarray, y: np.ndarray, N: int, counts: np.ndarray) -> None:
    """Compare the sum of chunks, and a stream of chunks, with the whole."""
    order = case.rng.permutation(len(y))
    parts = np.array_split(order, case.int(1, 4))
    pieces = [(torch.from_numpy(h[rows]), torch.from_numpy(y[rows])) for rows in parts]
    moments = [case.call(ClassMoments.of, x, t, N, counts) for x, t in pieces]
    stream = MomentStream(N, counts)
    for x, t in pieces:
        case.call(stream.update, x, t)
    for other in (sum(moments[1:], moments[0]), stream.moments()):
        assert other.counts.tolist() == counts.tolist()
        scale = float(whole.scatter.abs().max())
        np.testing.assert_allclose(other.means, whole.means, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(other.scatter, whole.scatter, rtol=1e-8, atol=1e-8 * scale)
        np.testing.assert_allclose(other.spread, whole.spread, rtol=1e-8, atol=1e-8 * scale)


def _check_nc1(case: Case, whole: ClassMoments, h: object, seen: np.ndarray, y: np.ndarray, N: int, eps: float) -> None:
    counts = np.bincount(y, minlength=N)
    first, second = measures.nc1(whole), case.call(measures.nc1, h, y, N)
    assert same(first, second, 1e-5), (first, second)
    if N < 2 or counts.min() == 0 or counts.max() < 2:
        assert math.isnan(first)
        return
    means = np.array([seen[y == k].mean(0) for k in range(N)])
    between = np.linalg.svd(means - means.mean(0), compute_uv=False)[: min(N - 1, seen.shape[1])]
    if between.min() > 1e-3 * max(between.max(), np.abs(seen).max()) and eps < 1e-6:
        assert same(first, plain_nc1(seen, y), 1e-5), (first, plain_nc1(seen, y))
        other = measures.nc1_top_share(FeatureSet.of(h, torch.from_numpy(y), N))
        assert same(measures.nc1_top_share(whole), other, 1e-4)
        frame = measures.nc2(whole)
        norms = np.linalg.norm(means, axis=1)
        assert same(frame.norm_cv, norms.std(ddof=1) / norms.mean(), 1e-7)
        pairs = [means[i] @ means[j] / norms[i] / norms[j] for i in range(N) for j in range(i)]
        assert abs(frame.uncentred_cosine - np.mean(pairs)) < 1e-7
        weight = case.rng.normal(size=means.shape)
        nearest = [((means - row) ** 2).sum(1).argmin() for row in seen]
        agree = share((seen @ weight.T).argmax(1) == np.array(nearest))
        assert measures.nc4(torch.from_numpy(seen), torch.from_numpy(weight), None, torch.from_numpy(means)) == agree


@fuzz(65)
def test_observer(case: Case) -> None:
    """For one epoch of odd batches, an Observer's J1 and J2 agree with counting, or one sentence states the error."""
    n, N, M = case.int(2, 16), case.pick([2, 3]), 3
    true, observed = classes(case, n, N), classes(case, n, N)
    torch.manual_seed(case.number)
    model = torch.nn.Sequential(torch.nn.Linear(4, M), torch.nn.ReLU(), torch.nn.Linear(M, N))
    x = torch.from_numpy(case.rng.normal(size=(n, 4))).float()
    t, fine = labels(case, true, N, 0.9)
    observer = case.call(measures.Observer, model, t, N)
    assert isinstance(observer, Refused) != fine, observer
    if not fine:
        return
    batches, good, place = [], True, 0
    for rows in np.array_split(np.arange(n), case.int(1, 3)):
        if not len(rows):
            continue
        y, taken = labels(case, observed[rows], N, 0.9)
        odd = case.pick([None] * 9 + ["short", "single", "third"])
        batch = (x[rows], y)
        batch = {None: batch, "short": (x[rows][1:], y), "single": (x[rows],), "third": (x[rows], y, y)}[odd]
        batches.append(batch)
        good, place = good and taken and odd is None, place + len(rows)
    row = case.call(observer.evaluate, 1, batches, case.pick([(), [(x, true)]]))
    observer.close()
    assert isinstance(row, Refused) != good, row
    if good:
        answers = model(x).argmax(1).numpy()
        assert same(row["j1"], share(answers == observed))
        assert same(row["j2"], share(answers == true))
        assert same(row["realised_rate"], share(true != observed))
