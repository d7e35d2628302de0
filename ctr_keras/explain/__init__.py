"""Pictures of what models and searches have found, with the names of fields."""

from ctr_keras.explain.attention import (
    Summary,
    attention_model,
    global_parts,
    summarize_attention,
)
from ctr_keras.explain.explainer import Explainer
from ctr_keras.explain.plans import plan_of_model
from ctr_keras.explain.run import explain_run

__all__ = [
    "Explainer",
    "Summary",
    "attention_model",
    "explain_run",
    "global_parts",
    "plan_of_model",
    "summarize_attention",
]
