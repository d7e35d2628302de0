"""Searches that decide which feature interactions and fields a model keeps."""

from ctr_keras.presets import SEARCH_PRESETS
from ctr_keras.search.aim import AIMSearch
from ctr_keras.search.autofeature import AutoFeatureSearch
from ctr_keras.search.autofield import AutoFieldSearch
from ctr_keras.search.autofis import AutoFISSearch
from ctr_keras.search.autogroup import AutoGroupSearch
from ctr_keras.search.deeplight import DeepLightSearch
from ctr_keras.search.optfs import OptFSSearch
from ctr_keras.search.optinter import OptInterSearch
from ctr_keras.search.run import SEARCHES, read_search, run_search
from ctr_keras.search.selections import RandomSelection, StatisticsSelection
from ctr_keras.search.stage import Search

__all__ = [
    "SEARCHES",
    "SEARCH_PRESETS",
    "AIMSearch",
    "AutoFISSearch",
    "AutoFeatureSearch",
    "AutoFieldSearch",
    "AutoGroupSearch",
    "DeepLightSearch",
    "OptFSSearch",
    "OptInterSearch",
    "RandomSelection",
    "Search",
    "StatisticsSelection",
    "read_search",
    "run_search",
]
