"""Energy, time and area of every component, each number with its source."""

from cimsim.cost.area import AreaRow
from cimsim.cost.catalogue import all_constants
from cimsim.cost.components import COMPONENTS
from cimsim.cost.constant import Constant
from cimsim.cost.counts import ActionCounts, Density
from cimsim.cost.leakage import LEAKING, NOT_MODELLED, LeakageRow
from cimsim.cost.ledger import Ledger, LedgerRow
from cimsim.cost.model import CostModel
from cimsim.cost.price import Price
from cimsim.cost.programming import lifetime_s
from cimsim.cost.timing import VisitTiming

__all__ = [
    "COMPONENTS",
    "LEAKING",
    "NOT_MODELLED",
    "ActionCounts",
    "AreaRow",
    "Constant",
    "CostModel",
    "Density",
    "LeakageRow",
    "Ledger",
    "LedgerRow",
    "Price",
    "VisitTiming",
    "all_constants",
    "lifetime_s",
]
