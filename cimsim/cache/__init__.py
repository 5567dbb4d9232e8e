"""The stage cache: what a stage of a run has computed once is not computed again.

`watched` notes what a stage reads of its chip, `store` keeps values on disk, `stages` puts both
together: a stage's value is found again for every chip that agrees on what the stage read.
"""

from cimsim.cache.stages import NO_CACHE, StageCache, Stages, open_cache
from cimsim.cache.store import Store, cache_folder

__all__ = ["NO_CACHE", "StageCache", "Stages", "Store", "cache_folder", "open_cache"]
