"""The bundled checkpoints and texts: complete, small, of the promised shape, and cheap to find."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer

from cimsim.errors import CimsimError
from cimsim.zoo import bundled_models, calibration_text, heldout_text, model_folder
from cimsim.zoo.card import card
from cimsim.zoo.corpus import SCORED_TOKENS, scored_bytes
from cimsim.zoo.evaluate import evaluate
from cimsim.zoo.network import DecoderNetwork, hf_tensors
from cimsim.zoo.specs import SPECS


def load_network(name: str) -> DecoderNetwork:
    network = DecoderNetwork(SPECS[name])
    with safe_open(model_folder(name) / "model.safetensors", "pt") as tensors:
        for key, weight in hf_tensors(network).items():
            weight.copy_(tensors.get_tensor(key).float())
    return network.eval()


def heldout_tokens(name: str) -> np.ndarray:
    tokenizer = Tokenizer.from_file(str(model_folder(name) / "tokenizer.json"))
    ids = tokenizer.encode(heldout_text(), add_special_tokens=False).ids
    return np.array(ids, np.uint16)


def test_the_default_model_comes_first() -> None:
    assert bundled_models() == ("olmoe-tiny", "qwen-moe-tiny", "deepseek-moe-tiny")


def test_an_unknown_model_is_refused_with_the_nearest_spelling() -> None:
    with pytest.raises(CimsimError, match=r"no bundled model.*olmoe-tiny'\?"):
        model_folder("olmo-tiny")


@pytest.mark.parametrize("name", ["../text", "", "text"])
def test_a_name_that_is_no_model_never_becomes_a_path(name: str) -> None:
    with pytest.raises(CimsimError, match="no bundled model"):
        model_folder(name)


def test_finding_models_imports_neither_torch_nor_numba() -> None:
    code = (
        "import sys, cimsim.zoo as z; z.model_folder('olmoe-tiny'); z.heldout_text();"
        "sys.exit(sum(m in sys.modules for m in ('torch', 'numba', 'numpy', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_texts_are_distinct_documents_separated_by_empty_lines() -> None:
    calibration, heldout = calibration_text().split("\n\n"), heldout_text().split("\n\n")
    assert len(calibration) > 100
    assert len(heldout) > 100
    assert not set(calibration) & set(heldout)
    assert all(document.strip() for document in calibration[:-1] + heldout[:-1])


@pytest.mark.parametrize("name", bundled_models())
def test_checkpoint_is_bfloat16_with_the_tensors_of_its_family(name: str) -> None:
    path = model_folder(name) / "model.safetensors"
    assert path.stat().st_size <= 16_000_000
    expected = {k: list(v.shape) for k, v in hf_tensors(DecoderNetwork(SPECS[name])).items()}
    with safe_open(path, "np") as tensors:
        found = {k: tensors.get_slice(k) for k in tensors.keys()}  # noqa: SIM118 (no mapping)
        assert {k: v.get_shape() for k, v in found.items()} == expected
        assert {v.get_dtype() for v in found.values()} == {"BF16"}


@pytest.mark.parametrize("name", bundled_models())
def test_config_is_that_of_the_specification(name: str) -> None:
    config = json.loads((model_folder(name) / "config.json").read_text(encoding="utf-8"))
    assert config == SPECS[name].hf_config()


def test_all_models_share_one_tokenizer_that_loses_nothing() -> None:
    files = [(model_folder(n) / "tokenizer.json").read_bytes() for n in bundled_models()]
    assert len({hashlib.sha256(f).hexdigest() for f in files}) == 1
    tokenizer = Tokenizer.from_str(files[0].decode("utf-8"))
    assert tokenizer.get_vocab_size() == 4096
    text = heldout_text()[:20_000] + " \t\u00e9\u4e2d\U0001f600\x00"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.parametrize("name", bundled_models())
def test_card_and_record_state_a_model_good_enough(name: str) -> None:
    training = json.loads((model_folder(name) / "training.json").read_text(encoding="utf-8"))
    assert training["development_split"]["perplexity"] <= 15.0
    assert training["development_split"]["load_cv"] < 0.5
    text = (model_folder(name) / "README.md").read_text(encoding="utf-8")
    assert text == card(SPECS[name], training)


@pytest.mark.full
@pytest.mark.parametrize("name", bundled_models())
def test_the_stated_figures_are_those_of_the_saved_weights(name: str) -> None:
    training = json.loads((model_folder(name) / "training.json").read_text(encoding="utf-8"))
    tokens = heldout_tokens(name)
    tokenizer = Tokenizer.from_file(str(model_folder(name) / "tokenizer.json"))
    n_bytes = scored_bytes(tokenizer, tokens[:SCORED_TOKENS].tolist())
    found, stated = evaluate(load_network(name), tokens, n_bytes), training["development_split"]
    assert found.perplexity == pytest.approx(stated["perplexity"], abs=0.002)
    assert found.bits_per_byte == pytest.approx(stated["bits_per_byte"], abs=2e-4)
    assert found.load_cv == pytest.approx(stated["load_cv"], abs=0.002)


@pytest.mark.parametrize("name", ["olmoe-tiny", "qwen-moe-tiny"])
def test_transformers_reads_the_folder_and_agrees_with_the_trained_network(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    reader = transformers.AutoModelForCausalLM.from_pretrained(
        model_folder(name), dtype=torch.float32
    )
    tokens = torch.from_numpy(heldout_tokens(name)[:512].astype(np.int64)).view(2, 256)
    with torch.no_grad():
        logits = reader(tokens).logits[:, :-1]
        expected = load_network(name)(tokens)[0]
    found = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), tokens[:, 1:], reduction="none"
    )
    assert (found - expected).abs().max() < 1e-3


def test_transformers_reads_the_tokenizer() -> None:
    transformers = pytest.importorskip("transformers")
    reader = transformers.AutoTokenizer.from_pretrained(model_folder("olmoe-tiny"))
    text = heldout_text()[:4000]
    ids = Tokenizer.from_file(str(model_folder("olmoe-tiny") / "tokenizer.json")).encode(text).ids
    assert reader(text)["input_ids"] == ids
    assert reader.eos_token_id == 0
