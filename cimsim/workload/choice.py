"""How a router chooses among groups of experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["GroupedChoice"]


@dataclass(frozen=True)
class GroupedChoice:
    """Experts are chosen from the best groups of them (DeepSeek-V2 and V3).

    A score is the softmax over all experts or the sigmoid of a logit. Groups are ranked by their
    best score, or by the sum of their two best; only experts of the best groups may be chosen.
    Gates are scores; choices are made by scores plus a stored bias (arXiv 2408.15664), if any.

    Attributes:
        score: of a logit.
        groups: of equally many experts, in order.
        chosen_groups: that experts are chosen from.
        rank: of a group.
        biased: whether a digital parameter `router_bias` [experts] is added for the choice.
    """

    score: Literal["softmax", "sigmoid"]
    groups: int
    chosen_groups: int
    rank: Literal["best", "best_two"]
    biased: bool
