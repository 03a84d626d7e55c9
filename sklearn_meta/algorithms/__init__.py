"""The algorithms, one file each."""

from sklearn_meta.algorithms.maml import MAML, MAMLClassifier, MAMLRegressor
from sklearn_meta.algorithms.protonet import ProtoNet, ProtoNetClassifier

__all__ = ["MAML", "MAMLClassifier", "MAMLRegressor", "ProtoNet", "ProtoNetClassifier"]
