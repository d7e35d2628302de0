"""Layers for click-through-rate models, each usable alone on plain tensors."""

from ctr_keras.layers.batch_normalization import (
    BatchNormalization,
    has_statistics,
    recompute_statistics,
)
from ctr_keras.layers.behavior_search import HashAttention, SimHash, TopBehaviors
from ctr_keras.layers.bilinear_fusion import BilinearFusion
from ctr_keras.layers.bilinear_interaction import BilinearInteraction
from ctr_keras.layers.calibrated_sigmoid import CalibratedSigmoid
from ctr_keras.layers.combination_block import CombinationBlock
from ctr_keras.layers.compact_embedding import CompactEmbedding
from ctr_keras.layers.compressed_interaction import CompressedInteraction
from ctr_keras.layers.cross import CrossLayer, CrossMixture
from ctr_keras.layers.dice import Dice
from ctr_keras.layers.disentangled_attention import DisentangledAttention
from ctr_keras.layers.embedding_gate import EmbeddingGate
from ctr_keras.layers.euler_interaction import ComplexFields, EulerInteraction
from ctr_keras.layers.factorization_machine import FactorizationMachine
from ctr_keras.layers.factorized_interaction import FactorizedInteraction
from ctr_keras.layers.feature_gate import FeatureGate
from ctr_keras.layers.field_aware_interaction import FieldAwareInteraction
from ctr_keras.layers.field_cells import FieldCells
from ctr_keras.layers.field_embedding import FieldEmbedding, embedding_numbers
from ctr_keras.layers.field_gate import FieldGate
from ctr_keras.layers.field_graph import AttentionalLogit, FieldGraph
from ctr_keras.layers.field_groups import FieldGroups, GatedGroups
from ctr_keras.layers.field_regulation import FieldRegulation
from ctr_keras.layers.funnel_sigmoid import FunnelSigmoid
from ctr_keras.layers.gated_embedding import GatedEmbedding
from ctr_keras.layers.gated_experts import GatedExperts
from ctr_keras.layers.gated_interaction import GatedInteraction
from ctr_keras.layers.generalized_interaction import GeneralizedInteraction
from ctr_keras.layers.global_interaction import GlobalInteraction
from ctr_keras.layers.inputs import feature_inputs
from ctr_keras.layers.interacting import InteractingLayer
from ctr_keras.layers.interest_evolution import AUGRU, NextBehaviorLoss
from ctr_keras.layers.item_interaction import ItemBehaviorInteraction, ItemFieldInteraction
from ctr_keras.layers.kept_values import KeptValues
from ctr_keras.layers.linear_logit import LinearLogit
from ctr_keras.layers.logarithmic_transform import LogarithmicTransform
from ctr_keras.layers.mask_block import MaskBlock
from ctr_keras.layers.mlp import MLP
from ctr_keras.layers.multi_interactive import MultiInteractive
from ctr_keras.layers.mutual_distillation import MutualDistillation
from ctr_keras.layers.number_embedding import (
    AutoDisEmbedding,
    PeriodicEmbedding,
    StepEmbedding,
)
from ctr_keras.layers.pair_attention import PairAttention
from ctr_keras.layers.pair_networks import PairNetworks
from ctr_keras.layers.residual_unit import ResidualUnit
from ctr_keras.layers.squeeze_excitation import SqueezeExcitation
from ctr_keras.layers.tanh_attention import TanhAttention
from ctr_keras.layers.target_attention import TargetAttention
from ctr_keras.layers.task_towers import TaskTowers
from ctr_keras.layers.transformer_block import TransformerBlock
from ctr_keras.layers.wukong_layer import WukongLayer
from ctr_keras.tables.trainer import RowTrainer

__all__ = [
    "AUGRU",
    "MLP",
    "AttentionalLogit",
    "AutoDisEmbedding",
    "BatchNormalization",
    "BilinearFusion",
    "BilinearInteraction",
    "CalibratedSigmoid",
    "CombinationBlock",
    "CompactEmbedding",
    "ComplexFields",
    "CompressedInteraction",
    "CrossLayer",
    "CrossMixture",
    "Dice",
    "DisentangledAttention",
    "EmbeddingGate",
    "EulerInteraction",
    "FactorizationMachine",
    "FactorizedInteraction",
    "FeatureGate",
    "FieldAwareInteraction",
    "FieldCells",
    "FieldEmbedding",
    "FieldGate",
    "FieldGraph",
    "FieldGroups",
    "FieldRegulation",
    "FunnelSigmoid",
    "GatedEmbedding",
    "GatedExperts",
    "GatedGroups",
    "GatedInteraction",
    "GeneralizedInteraction",
    "GlobalInteraction",
    "HashAttention",
    "InteractingLayer",
    "ItemBehaviorInteraction",
    "ItemFieldInteraction",
    "KeptValues",
    "LinearLogit",
    "LogarithmicTransform",
    "MaskBlock",
    "MultiInteractive",
    "MutualDistillation",
    "NextBehaviorLoss",
    "PairAttention",
    "PairNetworks",
    "PeriodicEmbedding",
    "ResidualUnit",
    "RowTrainer",
    "SimHash",
    "SqueezeExcitation",
    "StepEmbedding",
    "TanhAttention",
    "TargetAttention",
    "TaskTowers",
    "TopBehaviors",
    "TransformerBlock",
    "WukongLayer",
    "embedding_numbers",
    "feature_inputs",
    "has_statistics",
    "recompute_statistics",
]
