"""Pictures of what models and searches have found, with the names of fields."""

from ctr_keras.explain.explainer import Explainer
from ctr_keras.explain.plans import plan_of_model
from ctr_keras.explain.run import explain_run
from ctr_keras.explain.summary import Summary, summarize

__all__ = ["Explainer", "Summary", "explain_run", "plan_of_model", "summarize"]
