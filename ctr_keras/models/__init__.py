"""Models: functional builders from a feature set to a `keras.Model`."""

from ctr_keras.models.attention import AutoInt, AutoIntPlus
from ctr_keras.models.calibration import Calibration, calibrate, calibration_of
from ctr_keras.models.click_rate import start_at_click_rate
from ctr_keras.models.compressed import CIN, xDeepFM
from ctr_keras.models.cross import DCN, GDCN, CrossNet, DCNv2
from ctr_keras.models.deep import DeepCrossing, WideDeep
from ctr_keras.models.factorization import FM, HOFM, DeepFM
from ctr_keras.models.field_aware import FFM
from ctr_keras.models.linear import LR, Poly2
from ctr_keras.models.memorized import FNN, OptInter, OptInterF, OptInterM
from ctr_keras.models.pairs import AFM, NFM, FmFM, FwFM
from ctr_keras.models.product import AIM, IPNN, OPNN, PIN
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
    "CIN",
    "DCN",
    "FFM",
    "FM",
    "FNN",
    "GBDTFFM",
    "GBDTLR",
    "GDCN",
    "HOFM",
    "IPNN",
    "LR",
    "MIAN",
    "MODELS",
    "NFM",
    "OPNN",
    "PIN",
    "AutoInt",
    "AutoIntPlus",
    "Calibration",
    "CrossNet",
    "DCNv2",
    "DeepCrossing",
    "DeepFM",
    "FmFM",
    "FwFM",
    "ModelEntry",
    "OptInter",
    "OptInterF",
    "OptInterM",
    "Poly2",
    "WideDeep",
    "build_model",
    "calibrate",
    "calibration_of",
    "check_arguments",
    "model_arguments",
    "start_at_click_rate",
    "transfer",
    "xDeepFM",
]
