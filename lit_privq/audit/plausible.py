"""Signs that an input is not what it is taken for: each is one sentence with a remedy, for stderr and the page.

Nothing is refused here, since each sign may be meant; labels and confidences that fit nothing are refused where they
are read. Some models, evenly spaced, stand for all but where a single value is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lit_privq.attacks import Observed, logit_confidence
from lit_privq.metrics import auc, roc

_SOME = 32  # models that are looked at
_BLOCK = 1 << 22  # values of a block of examples
_ENOUGH = 50  # values of a group, below which one of them may well make up most of a variance


def doubts(models: Observed) -> Iterator[str]:
    """What confidences, logits and labels of all models give away.

    Args:
        models: shadows and targets.
    """
    count, examples = models.members.shape
    if count > examples:
        yield (
            f"there are more models ({count}) than examples ({examples}); members and confidence must be (models, "
            "examples), transpose both if they are not"
        )
    some = np.unique(np.linspace(0, count - 1, min(count, _SOME)).round().astype(np.intp))
    yield from _probabilities(models, some)
    yield from _softmax(models, some)
    wrong = list(_labels(models, some))
    yield from wrong or _sign(models, some)  # under wrong labels members seem less confident as well
    yield from _absurd(models)


def finite_population(shadows: NDArray[np.bool_], targets: NDArray[np.bool_]) -> bool:
    """Whether the masks of shadows tell the targets' memberships, whatever the models are.

    Where every example trained equally many of all models, targets included, an example of which fewer shadows are
    members is one of the target's. The same holds by degrees wherever the number of shadows and the targets'
    membership are correlated.

    Args:
        shadows: (shadows, examples) members.
        targets: (targets, examples) members.

    Source: arXiv:2605.25819.
    """
    among, hits = shadows.sum(axis=0), targets.sum(axis=0)
    if (among == among[0]).all() or (hits == hits[0]).all():
        return False
    if (among + hits == among[0] + hits[0]).all():
        return True
    # Fisher's z of an independent pair has a deviation of 1 / sqrt(n - 3); five of them are no chance.
    correlation = float(np.corrcoef(among, hits)[0, 1])
    return bool(np.arctanh(np.clip(correlation, -0.999999, 0.999999)) * np.sqrt(max(among.size - 3, 1)) < -5)


def contradiction(models: Observed) -> Iterator[str]:
    """Confidences beside logits and labels that give others."""
    if models.logits is None or models.labels is None or models.values:
        return
    different = []
    for index in np.unique(np.linspace(0, len(models.members) - 1, min(len(models.members), _SOME)).astype(np.intp)):
        given = np.asarray(models.confidence[index], np.float64)
        found = logit_confidence(np.asarray(models.logits[index]), models.labels)
        different.append(np.abs(given - found) > 0.01 * (1 + np.abs(found)))
    if (share := float(np.mean(different))) > 0.01:
        yield (
            f"{share:.0%} of the confidences differ from those that logits and labels give; LiRA reads the confidences "
            "and RMIA the logits, leave out the one that is wrong"
        )


def _probabilities(models: Observed, some: NDArray[np.intp]) -> Iterator[str]:
    """Probabilities, or scores of all classes, in the place of log-odds of the true class."""
    values = [np.asarray(models.confidence[index], np.float64) for index in some]  # each (examples, queries)
    if _are_shares(values):
        yield (
            "the last axis of confidence holds probabilities that sum to 1, as those of classes do; give them as "
            "logits, log p will do, with labels"
        )
    elif models.queries > 2 and _queries_oppose(values):
        yield (
            "the values on the last axis of confidence vary against each other, as logits of classes do and queries of "
            "one example do not; if they are classes, give them as logits, with labels"
        )
    elif all(((one >= 0) & (one <= 1)).all() for one in values) and np.ptp(values) > 0:
        yield (
            "all confidences lie in [0, 1] as probabilities do; give log p - log(1 - p), or logits with labels: "
            "rounded probabilities hide the examples that decide at low false-positive rates"
        )


def _are_shares(values: list[NDArray[np.float64]]) -> bool:
    """Whether rows of several values lie in [0, 1] and sum to 1."""
    return values[0].shape[-1] > 1 and all(
        bool((one >= 0).all() and (one <= 1).all() and (np.abs(one.sum(axis=-1) - 1) < 1e-3).all()) for one in values
    )


def _queries_oppose(values: list[NDArray[np.float64]]) -> bool:
    """Whether rows vary less in their mean than independent queries would.

    The mean of q values has 1/q of their variance where they are independent, and more where they answer for the same
    example; logits of classes, whose sum hardly varies, have less.
    """
    single = np.mean([one.var(axis=0).mean() for one in values])
    of_means = np.mean([one.mean(axis=1).var() for one in values])
    return bool(single > 0 and values[0].shape[1] * of_means / single < 0.75)


def _first_query(models: Observed, some: NDArray[np.intp]) -> list[NDArray[np.float64]]:
    """Logits of classes of the first query, each (examples, classes); none where there are none."""
    if models.logits is None or models.labels is None or models.values:
        return []
    return [np.asarray(models.logits[index][:, 0], np.float64) for index in some]


def _softmax(models: Observed, some: NDArray[np.intp]) -> Iterator[str]:
    """Probabilities in the place of logits."""
    logits = _first_query(models, some)
    if logits and _are_shares(logits):
        yield (
            "logits lie in [0, 1] and sum to 1, as probabilities after a softmax do; give what enters the softmax, or "
            "log p"
        )


def _labels(models: Observed, some: NDArray[np.intp]) -> Iterator[str]:
    """Labels that are not those of the logits."""
    if not (logits := _first_query(models, some)):
        return
    classes = logits[0].shape[1]
    right = float(np.mean([(one.argmax(axis=1) == models.labels).mean() for one in logits]))
    if right < min(1.5 / classes, 0.5):
        yield (
            f"the models get only {right:.1%} of the labels right, hardly more than random guessing among {classes} "
            "classes; labels that are shifted or in another order than the logits look like this"
        )


def _sign(models: Observed, some: NDArray[np.intp]) -> Iterator[str]:
    """Members that are less confident than non-members, far beyond chance."""
    total, deviations = 0.0, []
    for index in some:
        members = models.members[index]
        inside, outside = int(members.sum()), int((~members).sum())
        if not inside or not outside:
            continue
        area = float(auc(roc(np.asarray(models.confidence[index], np.float64).mean(axis=1), members)))
        deviations.append((area - 0.5) / np.sqrt((inside + outside + 1) / (12 * inside * outside)))
        total += area
    if deviations and sum(deviations) / np.sqrt(len(deviations)) < -4:
        yield (
            f"members are less confident than non-members throughout (AUC {total / len(deviations):.2f} of the "
            "confidence alone); a loss must change its sign, larger means more confident"
        )


def _absurd(models: Observed) -> Iterator[str]:
    """A single value that makes up most of the variance of a group, which all examples share."""
    count, examples = models.members.shape
    step = max(1, _BLOCK // (count * models.queries))
    for inside in (True, False):
        total, values, worst = 0.0, 0, (0.0, 0, 0, 0)
        for start in range(0, examples, step):
            rows = slice(start, min(start + step, examples))
            group = models.members[:, rows, None] == inside  # (models, examples, 1)
            block = np.asarray(models.block(rows), np.float64)
            size = np.maximum(group.sum(axis=0), 1)
            off = np.where(group, block - np.where(group, block, 0).sum(axis=0) / size, 0) ** 2
            total += off.sum()
            values += int(group.sum()) * models.queries
            place = np.unravel_index(off.argmax(), off.shape)
            worst = max(worst, (float(off[place]), int(place[0]), start + int(place[1]), int(place[2])))
        square, model, example, query = worst
        if values >= _ENOUGH and square > total / 2:
            value = float(np.asarray(models.confidence[model])[example, query])
            yield (
                f"model {model} has confidence {value:g} for example {example}, query {query}: that value alone makes "
                f"up {square / total:.0%} of the variance of all {'members' if inside else 'non-members'}; query it "
                "again or leave the example out (the standard attacks bound its weight, the reference's do not)"
            )
