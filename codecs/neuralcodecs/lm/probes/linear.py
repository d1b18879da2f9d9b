"""A linear classifier on what codes stand for: how much they tell of a label, such as the speaker."""

from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

FOLDS = 5
PENALTY = 0.01
STEPS = 50


def features(latents: Float[Tensor, "d *grid"]) -> Float[Tensor, " f"]:
    """Mean and standard deviation of each channel over the grid."""
    flat = latents.flatten(1).float()
    return torch.cat([flat.mean(1), flat.std(1, correction=0)])


def linear_probe(vectors: Sequence[Float[Tensor, " f"]], labels: Sequence[str]) -> dict[str, float]:
    """Accuracy on files that the classifier has not seen, and that of always saying the most frequent label.

    Labels of one file only are left out; empty when fewer than two labels remain.
    """
    counts = Counter(labels)
    names = sorted(name for name, count in counts.items() if count > 1)
    if len(names) < 2:
        return {}
    chosen = [(vector, names.index(label)) for vector, label in zip(vectors, labels, strict=True) if label in names]
    x = torch.stack([vector for vector, _ in chosen])
    y = torch.tensor([label for _, label in chosen])
    fold = _folds(y)
    right = 0
    for number in range(FOLDS):
        test = fold == number
        if test.any():
            right += int((_classify(x[~test], y[~test], x[test], len(names)) == y[test]).sum())
    return {"probe_accuracy": right / len(y), "probe_chance": float(y.bincount().max()) / len(y)}


def _folds(labels: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """The files of each label go round the folds in turn."""
    seen: Counter[int] = Counter()
    folds = []
    for label in labels.tolist():
        folds.append((seen[label] + label) % FOLDS)
        seen[label] += 1
    return torch.tensor(folds)


@torch.enable_grad()
def _classify(x: Tensor, y: Tensor, unseen: Tensor, classes: int) -> Tensor:
    """Logistic regression with a penalty on standardised features."""
    mean, deviation = x.mean(0), x.std(0, correction=0).clamp(min=1e-6)
    x, unseen = (x - mean) / deviation, (unseen - mean) / deviation
    weight = torch.zeros(x.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(x @ weight + bias, y) + PENALTY * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return (unseen @ weight + bias).argmax(1).detach()
