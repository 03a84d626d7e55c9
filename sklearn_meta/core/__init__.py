"""From tasks to estimators: episodes, the algorithm contract, the outer loop, the meta state."""

from sklearn_meta.core.adapts import Adapts, Body, Everything, HeadAlone, Start
from sklearn_meta.core.algorithm import Algorithm, Criterion, Network
from sklearn_meta.core.backbone import Backbone, RowNetwork, build_backbone
from sklearn_meta.core.classifier import MetaClassifier
from sklearn_meta.core.estimator import BaseMetaLearner
from sklearn_meta.core.examples import Examples, join, pad, stack
from sklearn_meta.core.gradient import GradientLearner, LastStep, MultiStep, OuterLoss
from sklearn_meta.core.heads import FixedHead, Head, LinearHead, PrototypeHead, SharedHead, copies
from sklearn_meta.core.inner_params import InnerLoopParams, gradient_learner
from sklearn_meta.core.new_heads import CosineHead, ZeroHead
from sklearn_meta.core.params import Check, integer, option, real
from sklearn_meta.core.params_doc import describe_shared
from sklearn_meta.core.pretrained import FineTune, joint_risk
from sklearn_meta.core.rates import FixedRate, ParameterRate, Rate, ScalarRate, TensorStepRate
from sklearn_meta.core.regressor import MetaRegressor
from sklearn_meta.core.state import MetaState
from sklearn_meta.core.update_rules import DirectRule, GatedRule, UpdateRule
from sklearn_meta.core.with_head import InnerLoop, WithHead

__all__ = [
    "Adapts",
    "Algorithm",
    "Backbone",
    "BaseMetaLearner",
    "Body",
    "Check",
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
    "InnerLoopParams",
    "LastStep",
    "LinearHead",
    "MetaClassifier",
    "MetaRegressor",
    "MetaState",
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
    "describe_shared",
    "gradient_learner",
    "integer",
    "join",
    "joint_risk",
    "option",
    "pad",
    "real",
    "stack",
]
