"""Distances between distributions, when a distance counts, and detectors on streams.

What other rooms use:

- `statistics.distributions_of_statistics(dataset)` from TFDV's statistics of a data set,
  `columns.distributions_of_batches(batches)` from Arrow, `distribution.merge(one, other)`: what is
  known of each feature, by its path.
- `comparison.compare(reference, current, rules, windows)`: a list of `findings.Finding`, each with
  its verdict DRIFT, INSUFFICIENT or OK, the numbers behind it and a sentence.
- `rules.Rule(measure, features, threshold, floor, min_n, alpha)` and `rules.DEFAULT_RULES`.
- `measures.MEASURES` by name, `measures.distance(name, reference, current)` for the number alone,
  and `measures.check_kind(measure, kind, feature)` for who lints a schema.

    >>> from penstock.drift.comparison import compare
    >>> from penstock.drift.distribution import Categorical
    >>> from penstock.drift.rules import Rule
    >>> reference = {"carrier": Categorical({"AA": 5000, "UA": 5000})}
    >>> current = {"carrier": Categorical({"AA": 4000, "UA": 6000})}
    >>> [finding] = compare(reference, current, [Rule("l_infinity", "carrier", threshold=0.05)])
    >>> finding.verdict, round(finding.value, 3)
    ('DRIFT', 0.1)
    >>> finding.sentence  # doctest: +ELLIPSIS
    'carrier: L-infinity distance 0.1 passes the threshold 0.05; most moved: AA ...'
"""
