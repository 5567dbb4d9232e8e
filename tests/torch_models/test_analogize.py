"""Models of transformers on the tiles of a chip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM, OlmoeForCausalLM, Qwen2MoeConfig

from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.model import Decoder, FloatLinear, load_checkpoint
from cimsim.model.families.family import FAMILIES
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.ranges import measure_ranges
from cimsim.stages.scoring import score_clean
from cimsim.torch import analogize
from cimsim.torch.names import matrix_of
from cimsim.workload.matrix import MatrixId
from tests.torch_models.small import SMALL, ids, small_model

Windows = NDArray[np.int64]

NOISY: dict[str, Any] = {
    # A range that needs no text.
    "tile": {
        "device": {"kind": "eflash", "cell_bits": 8, "technology": "eflash"},
        "adc": {"kind": "isaac", "range": {"kind": "full"}},
    },
    "chip": {"analog_parts": ["attention", "router", "experts", "shared", "head"]},
}
CHIP = ChipConfig.model_validate({"name": "noisy", **NOISY})


@pytest.fixture(scope="module")
def analog() -> Iterator[OlmoeForCausalLM]:
    yield analogize(small_model(), CHIP)


def logits(model: torch.nn.Module, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(tokens).logits
    return found


def losses(model: torch.nn.Module, windows: Windows) -> NDArray[np.float64]:
    tokens = torch.from_numpy(windows)
    scores = torch.log_softmax(logits(model, tokens).double(), dim=-1)
    return -scores[:, :-1].gather(2, tokens[:, 1:, None])[..., 0].numpy()


def test_the_same_module_comes_back_with_every_matrix_on_tiles() -> None:
    model = small_model()
    clean = logits(model, ids(2, 12))
    names = set(model.state_dict())
    analog = analogize(model, CHIP)
    assert analog is model
    assert set(model.state_dict()) == names
    experts, layers = SMALL["num_experts"], SMALL["num_hidden_layers"]
    assert len(model.analog.slots) == layers * (4 + 1 + 3 * experts) + 1
    assert model.analog.digital == ()
    noisy = logits(model, ids(2, 12))
    spread = float((noisy - clean).std() / clean.std())
    assert 0.01 < spread < 1.0


def test_products_are_those_of_the_chip_that_a_run_programs(tmp_path: Path) -> None:
    model = small_model()
    model.save_pretrained(tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    decoder, digital = Decoder(checkpoint), FloatLinear(checkpoint)
    windows = ids(2, 12).numpy().astype(np.int64)
    placed = place_chip(CHIP, decoder.program, score_clean(decoder, digital, windows).trace)
    ranges = measure_ranges(CHIP, decoder, placed.copies, windows)
    chip = ProgrammedChip.program(CHIP.tile, 25.0, checkpoint, placed.copies, ranges, digital, 3)
    products = chip.linear(read_seed=7, mode="folded")
    expected = decoder.score(windows, products, sequences=np.arange(2)).nll
    found = losses(analogize(small_model(), CHIP, seed=3, read_seed=7), windows)
    apart = losses(analogize(small_model(), CHIP, seed=4, read_seed=7), windows)
    # Cells, converters and draws are equal; a code flips where digital layers round otherwise.
    assert np.abs(found - expected).mean() < 0.05 * np.abs(apart - expected).mean()


def test_noise_of_a_token_depends_on_its_place_and_not_on_batch_or_cache(
    analog: OlmoeForCausalLM,
) -> None:
    tokens = ids(2, 12)
    both = logits(analog, tokens)
    assert torch.allclose(logits(analog, tokens[:1]), both[:1], atol=1e-5)
    analog.analog.tokens.first_sequence = 1
    assert torch.allclose(logits(analog, tokens[1:]), both[1:], atol=1e-5)
    analog.analog.tokens.first_sequence = 0
    kept = [
        analog.generate(tokens, max_new_tokens=6, do_sample=False, use_cache=cache)
        for cache in (True, False)
    ]
    assert torch.equal(*kept)


def test_another_chip_seed_is_another_chip_and_the_same_the_same(analog: OlmoeForCausalLM) -> None:
    first = logits(analog, ids(1, 8))
    analog.reprogram(chip_seed=1)
    assert not torch.allclose(logits(analog, ids(1, 8)), first, atol=1e-3)
    analog.reprogram(chip_seed=0)
    assert torch.equal(logits(analog, ids(1, 8)), first)


def test_parts_that_stay_digital_are_listed_and_exact() -> None:
    model = small_model()
    clean = logits(model, ids(1, 8))
    analog = analogize(model, ChipConfig(name="still"), parts=["head"])
    assert set(analog.analog.slots) == {MatrixId(SMALL["num_hidden_layers"], "head")}
    assert "model.layers.0.self_attn.q_proj" in analog.analog.digital
    assert float((logits(analog, ids(1, 8)) - clean).std() / clean.std()) < 0.05


def test_a_gradient_through_a_tile_is_refused(analog: OlmoeForCausalLM) -> None:
    loss = analog(ids(1, 4)).logits.sum()
    with pytest.raises(CimsimError, match="no gradient passes"):
        loss.backward()


def test_compiled_models_give_the_same_logits(analog: OlmoeForCausalLM) -> None:
    compiled = torch.compile(analog, backend="eager")
    assert torch.allclose(logits(compiled, ids(1, 8)), logits(analog, ids(1, 8)), atol=1e-5)


def test_a_shared_expert_behind_a_gate_and_dense_layers_are_found() -> None:
    config = Qwen2MoeConfig(
        vocab_size=64, hidden_size=32, num_attention_heads=2, num_key_value_heads=2,
        num_hidden_layers=2, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16,
        shared_expert_intermediate_size=24, intermediate_size=48, mlp_only_layers=[0],
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    slots = analogize(model, CHIP).analog.slots
    roles = {m.role for m in slots}
    assert {"dense_gate", "shared_down", "shared_router", "router", "gate"} <= roles
    assert model.analog.digital == ()
    assert torch.isfinite(logits(model, ids(1, 8))).all()


def test_module_names_are_those_of_the_families() -> None:
    for family in FAMILIES.values():
        router = family.tensor(5, "router").removesuffix(".weight")
        assert matrix_of(router, 8) == MatrixId(5, "router")
        expert = family.tensor(2, "down", 9).removesuffix(".weight")
        assert matrix_of(expert, 8) == MatrixId(2, "down", 9)
    assert matrix_of("model.layers.3.self_attn.q_proj", 8) == MatrixId(3, "q")
    assert matrix_of("model.language_model.layers.3.self_attn.q_proj", 8) == MatrixId(3, "q")
    assert matrix_of("lm_head", 8) == MatrixId(8, "head")
    assert matrix_of("model.layers.3.self_attn.rotary", 8) is None


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: analogize(small_model(), CHIP, parts=["brain"]), "not a part"),
        (lambda: analogize(torch.nn.Linear(4, 4), CHIP), "no module of this model"),
        (lambda: analogize(small_model(), "isaak"), "no bundled chip"),
        (lambda: analogize(analogize(small_model(), CHIP), CHIP), "already"),
        (lambda: analogize(small_model(), CHIP, seed=-1), "no chip"),
        (lambda: analogize(small_model(), PERCENTILE), "from text"),
    ],
)
def test_what_cannot_be_done_is_said(make: Any, says: str) -> None:
    with pytest.raises(CimsimError, match=says):
        make()


def test_a_model_that_cannot_be_put_on_tiles_stays_as_it_was() -> None:
    model = small_model()
    clean = logits(model, ids(1, 8))
    with pytest.raises(CimsimError):
        analogize(model, PERCENTILE)
    assert torch.equal(logits(model, ids(1, 8)), clean)
    assert not model._forward_pre_hooks


PERCENTILE = ChipConfig.model_validate(
    {"name": "percentile", "tile": {"adc": {"kind": "isaac", "range": {"kind": "percentile"}}}}
)


def test_converter_ranges_come_from_text_where_the_chip_takes_them_there() -> None:
    analog = analogize(small_model(), PERCENTILE, calibration=ids(2, 24))
    levels = {m: r.top_levels for m, r in analog.analog.ranges.items()}
    assert len(set(levels.values())) > 1
    few = [m for m in levels if m.part == "experts"]
    assert few
    assert all(levels[m] > 0 for m in few)


def test_rows_that_are_no_tokens_of_the_call_are_refused(analog: OlmoeForCausalLM) -> None:
    logits(analog, ids(2, 6))
    with pytest.raises(CimsimError, match="not the tokens of this call"):
        analog.model.layers[0].self_attn.q_proj(torch.zeros(5, SMALL["hidden_size"]))
    with pytest.raises(CimsimError, match="which tokens they see"):
        analog(torch.zeros(3, dtype=torch.int64))


def test_lm_eval_harness_takes_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = pytest.importorskip("lm_eval")
    pytest.importorskip("lm_eval.models.huggingface")
    from tests.torch_models.harness import accuracy_of_words

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert 0.0 <= accuracy_of_words(harness, tmp_path) <= 1.0
