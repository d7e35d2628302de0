"""Models: functional builders from a feature set to a `keras.Model`."""

from ctr_keras.models.attention import DESTINE, AutoInt, AutoIntPlus
from ctr_keras.models.blocks import DLRM, AOANet, WuKong
from ctr_keras.models.calibration import Calibration, calibrate, calibration_of
from ctr_keras.models.cells import AutoFeature
from ctr_keras.models.click_rate import start_at_click_rate
from ctr_keras.models.compressed import CIN, xDeepFM
from ctr_keras.models.cross import DCN, GDCN, CrossNet, DCNv2
from ctr_keras.models.deep import DeepCrossing, WideDeep
from ctr_keras.models.factorization import FM, HOFM, DeepFM
from ctr_keras.models.field_aware import FFM, ONN
from ctr_keras.models.field_weights import EDCN, FiBiNET, MaskNet
from ctr_keras.models.graph import FiGNN
from ctr_keras.models.grouped import AutoGroup
from ctr_keras.models.interest import BST, DIEN, DIN
from ctr_keras.models.linear import LR, Poly2
from ctr_keras.models.long_history import ETA, SDIM, SIM
from ctr_keras.models.memorized import FNN, OptInter, OptInterF, OptInterM
from ctr_keras.models.pairs import AFM, NFM, FmFM, FwFM
from ctr_keras.models.powers import AFN, EulerNet
from ctr_keras.models.product import AIM, IPNN, OPNN, PIN
from ctr_keras.models.registry import (
    MODELS,
    ModelEntry,
    build_model,
    check_arguments,
    model_arguments,
)
from ctr_keras.models.sequence import MIAN
from ctr_keras.models.several_labels import ESMM, PLE, MMoE, SharedBottom
from ctr_keras.models.streams import FinalMLP, FinalNet
from ctr_keras.models.transfer import transfer
from ctr_keras.models.trees import GBDTFFM, GBDTLR

__all__ = [
    "AFM",
    "AFN",
    "AIM",
    "BST",
    "CIN",
    "DCN",
    "DESTINE",
    "DIEN",
    "DIN",
    "DLRM",
    "EDCN",
    "ESMM",
    "ETA",
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
    "ONN",
    "OPNN",
    "PIN",
    "PLE",
    "SDIM",
    "SIM",
    "AOANet",
    "AutoFeature",
    "AutoGroup",
    "AutoInt",
    "AutoIntPlus",
    "Calibration",
    "CrossNet",
    "DCNv2",
    "DeepCrossing",
    "DeepFM",
    "EulerNet",
    "FiBiNET",
    "FiGNN",
    "FinalMLP",
    "FinalNet",
    "FmFM",
    "FwFM",
    "MMoE",
    "MaskNet",
    "ModelEntry",
    "OptInter",
    "OptInterF",
    "OptInterM",
    "Poly2",
    "SharedBottom",
    "WideDeep",
    "WuKong",
    "build_model",
    "calibrate",
    "calibration_of",
    "check_arguments",
    "model_arguments",
    "start_at_click_rate",
    "transfer",
    "xDeepFM",
]
