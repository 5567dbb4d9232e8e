"""Tokens that were fed last: the same ones are not quantised again, and changed ones are."""

from __future__ import annotations

import torch

from cimsim.backends.torch.feeds import Fed, Feeds


def _feed(x: torch.Tensor, made: list[torch.Tensor]) -> Fed:
    made.append(x.clone())
    return Fed(x.to(torch.int8), x[:, 0].float(), x.sum(1).double())


def test_the_same_tokens_in_the_same_form_are_fed_once() -> None:
    feeds, made = Feeds(), []
    x = torch.arange(12.0).reshape(4, 3)

    def fed(tokens: torch.Tensor, form: str = "gate") -> Fed:
        return feeds.of(tokens, form, lambda: _feed(tokens, made))

    first = fed(x)
    assert fed(x[0:4]) is first  # a view of the same
    assert fed(x, "down") is not first
    assert len(made) == 2
    fed(x[1:])
    assert len(made) == 3
    fed(x.clone())
    assert len(made) == 4
    feeds.clear()
    fed(x)
    assert len(made) == 5


def test_tokens_that_were_changed_in_their_place_are_fed_again() -> None:
    feeds, made = Feeds(), []
    x = torch.ones(2, 3)
    part = x[0:2]
    feeds.of(part, "gate", lambda: _feed(part, made))
    x.add_(1.0)
    found = feeds.of(part, "gate", lambda: _feed(part, made))
    assert torch.equal(found.sums, torch.tensor([6.0, 6.0], dtype=torch.float64))
    with torch.inference_mode():  # where changes are not counted
        y = torch.ones(2, 3)
        feeds.of(y, "gate", lambda: _feed(y, made))
        y.add_(1.0)
        assert float(feeds.of(y, "gate", lambda: _feed(y, made)).sums[0]) == 6.0


def test_other_tokens_in_the_place_of_those_that_are_gone_are_fed() -> None:
    feeds, made = Feeds(), []
    for value in (1.0, 2.0, 3.0):  # an allocator gives the same place again and again
        x = torch.full((64, 64), value)
        assert float(feeds.of(x, "gate", lambda x=x: _feed(x, made)).scale[0]) == value
        del x
    assert len(made) == 3


def test_codes_of_the_same_tokens_are_summed_once() -> None:
    feeds, x, sums = Feeds(), torch.arange(6.0).reshape(2, 3), []

    def fed_sum() -> torch.Tensor:
        fed = feeds.of(x, "gate", lambda: _feed(x, []))
        return feeds.sums_of(fed, lambda: sums.append(fed) or fed.bytes.sum())

    assert int(fed_sum()) == int(fed_sum()) == 15
    assert len(sums) == 1
    x.add_(1.0)
    assert int(fed_sum()) == 21
    feeds.clear()
    fed_sum()
    assert len(sums) == 3
