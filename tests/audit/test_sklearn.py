"""scikit-learn's estimator checks pass, without any expected failure."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from byrote.audit import LabelAudit


@parametrize_with_checks([LabelAudit(epochs=2)])
def test_the_contract_holds(estimator, check):
    check(estimator)
