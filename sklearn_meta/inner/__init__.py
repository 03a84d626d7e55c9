"""The inner loop: the contract of an algorithm, and the parts that algorithms are made of."""

from sklearn_meta.inner.adapts import Adapts, Body, Everything, HeadAlone, Start
from sklearn_meta.inner.algorithm import Algorithm, Criterion, Network
from sklearn_meta.inner.backbone import Backbone, RowNetwork, build_backbone
from sklearn_meta.inner.examples import Examples, join, pad, stack
from sklearn_meta.inner.fine_tune import FineTune, joint_risk
from sklearn_meta.inner.gradient import GradientLearner, LastStep, MultiStep, OuterLoss
from sklearn_meta.inner.heads import (
    FixedHead,
    Head,
    LinearHead,
    PrototypeHead,
    SharedHead,
    copies,
)
from sklearn_meta.inner.new_heads import CosineHead, ZeroHead
from sklearn_meta.inner.rates import FixedRate, ParameterRate, Rate, ScalarRate, TensorStepRate
from sklearn_meta.inner.update_rules import DirectRule, GatedRule, UpdateRule
from sklearn_meta.inner.with_head import InnerLoop, WithHead

__all__ = [
    "Adapts",
    "Algorithm",
    "Backbone",
    "Body",
    "CosineHead",
    "Criterion",
    "DirectRule",
    "Everything",
    "Examples",
    "FineTune",
    "FixedHead",
    "FixedRate",
    "GatedRule",
    "GradientLearner",
    "Head",
    "HeadAlone",
    "InnerLoop",
    "LastStep",
    "LinearHead",
    "MultiStep",
    "Network",
    "OuterLoss",
    "ParameterRate",
    "PrototypeHead",
    "Rate",
    "RowNetwork",
    "ScalarRate",
    "SharedHead",
    "Start",
    "TensorStepRate",
    "UpdateRule",
    "WithHead",
    "ZeroHead",
    "build_backbone",
    "copies",
    "join",
    "joint_risk",
    "pad",
    "stack",
]
