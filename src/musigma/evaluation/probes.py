"""Probes and clusters of codes, by scikit-learn: accuracy on, and agreement with, the classes."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor

from musigma.seeding import FIXED_SEED

TRAINING_CODES = 10_000
"""The number of training codes, chosen by a fixed seed, that probes and clusters are fitted on."""
INVERSE_PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
NEIGHBOURS = (50, 20, 10, 5, 3, 1)

# Threads are slower for such small fits, and add in varying order.
one_thread = threadpool_limits.wrap(1)


class Codes(NamedTuple):
    """Posterior means `mu` `[N, d]` of a set of images, and their labels `y` `[N]`."""

    mu: Tensor
    y: Tensor


class Probe(NamedTuple):
    """The accuracy of a classifier of codes.

    Args:
        accuracy: the share of test codes that are classified correctly.
        error: its binomial standard error, √(a (1 − a) / N).
        chosen: the setting with the best validation accuracy, C or k.
    """

    accuracy: float
    error: float
    chosen: float


class ClusterAgreement(NamedTuple):
    """The agreement of clusters with classes: 1 for the same partition, about 0 for chance.

    Args:
        adjusted_rand: the adjusted Rand index (Hubert and Arabie 1985).
        normalized_information: mutual information over the mean of the two entropies.
        clusters: the number of clusters, as many as classes.
    """

    adjusted_rand: float
    normalized_information: float
    clusters: int


def linear_probe(train: Codes, val: Codes, test: Codes) -> Probe:
    """The accuracy of multinomial logistic regression with an L2 penalty of weight 1/C.

    Fitted on at most 10,000 training codes, standardised by their statistics; C is chosen on the
    validation codes, the accuracy is that on the test codes.

    Raises:
        ValueError: if there are no validation codes.
    """

    def classifier(c: float) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))

    return _probe(classifier, INVERSE_PENALTIES, train, val, test)


def neighbours_probe(train: Codes, val: Codes, test: Codes) -> Probe:
    """The accuracy of the majority class of the k nearest training codes, in Euclidean distance.

    Fitted, chosen and reported like `linear_probe`, but in the codes' own scale: standardisation
    would give an inactive dimension as much weight as any other.

    Raises:
        ValueError: if there are no validation codes.
    """
    settings = [k for k in NEIGHBOURS if k <= min(len(train.mu), TRAINING_CODES)]
    return _probe(KNeighborsClassifier, settings, train, val, test)


@one_thread
def cluster_agreement(train: Codes, test: Codes) -> ClusterAgreement:
    """The agreement of k-means clusters, as many as classes, with the classes of test codes.

    Fitted without labels on at most 10,000 training codes, in the codes' own scale; the best of
    ten initialisations with a fixed seed.
    """
    training, _ = _arrays(fitting_subset(train))
    codes, labels = _arrays(test)
    clusters = len(train.y.unique())
    found = KMeans(clusters, n_init=10, random_state=FIXED_SEED).fit(training).predict(codes)
    return ClusterAgreement(
        float(adjusted_rand_score(labels, found)),
        float(normalized_mutual_info_score(labels, found)),
        clusters,
    )


@one_thread
def _probe(
    classifier: Callable[[Any], Any],
    settings: Sequence[float],
    train: Codes,
    val: Codes,
    test: Codes,
) -> Probe:
    """The probe with the best setting on `val`; of equal ones, the first."""
    if len(val.mu) == 0:
        raise ValueError("a probe chooses its setting on validation codes, and there are none")
    training = _arrays(fitting_subset(train))
    fits = [classifier(value).fit(*training) for value in settings]
    best = int(np.argmax([fit.score(*_arrays(val)) for fit in fits]))
    accuracy = float(fits[best].score(*_arrays(test)))
    error = math.sqrt(accuracy * (1 - accuracy) / len(test.mu))
    return Probe(accuracy, error, settings[best])


def labelled(codes: Codes) -> Codes:
    """The codes whose images have a class; a label of −1 is none."""
    known = codes.y >= 0
    return Codes(codes.mu[known], codes.y[known])


def fitting_subset(codes: Codes) -> Codes:
    """At most `TRAINING_CODES` of the codes, for probes and clusters to be fitted on."""
    order = torch.randperm(len(codes.mu), generator=torch.Generator().manual_seed(FIXED_SEED))
    rows = order[:TRAINING_CODES].to(codes.mu.device)
    return Codes(codes.mu[rows], codes.y[rows])


def _arrays(codes: Codes) -> tuple[Any, Any]:
    return codes.mu.double().cpu().numpy(), codes.y.cpu().numpy()
