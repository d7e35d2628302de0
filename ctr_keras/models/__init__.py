"""Models: functional builders from a feature set to a `keras.Model`."""

from ctr_keras.models.attention import AutoInt, AutoIntPlus
from ctr_keras.models.calibration import Calibration, calibrate, calibration_of
from ctr_keras.models.click_rate import start_at_click_rate
from ctr_keras.models.factorization import FM, HOFM, DeepFM
from ctr_keras.models.field_aware import FFM
from ctr_keras.models.linear import LR, Poly2
from ctr_keras.models.memorized import FNN, OptInter, OptInterF, OptInterM
from ctr_keras.models.pairs import AFM, NFM, FmFM, FwFM
from ctr_keras.models.product import AIM, IPNN
from ctr_keras.models.registry import (
    MODELS,
    ModelEntry,
    build_model,
    check_arguments,
    model_arguments,
)
from ctr_keras.models.sequence import MIAN
from ctr_keras.models.transfer import transfer
from ctr_keras.models.trees import GBDTFFM, GBDTLR

__all__ = [
    "AFM",
    "AIM",
    "FFM",
    "FM",
    "FNN",
    "GBDTFFM",
    "GBDTLR",
    "HOFM",
    "IPNN",
    "LR",
    "MIAN",
    "MODELS",
    "NFM",
    "AutoInt",
    "AutoIntPlus",
    "Calibration",
    "DeepFM",
    "FmFM",
    "FwFM",
    "ModelEntry",
    "OptInter",
    "OptInterF",
    "OptInterM",
    "Poly2",
    "build_model",
    "calibrate",
    "calibration_of",
    "check_arguments",
    "model_arguments",
    "start_at_click_rate",
    "transfer",
]
