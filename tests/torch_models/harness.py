"""lm-eval-harness on a local task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from cimsim.torch import analogize
from cimsim.zoo import model_folder

__all__ = ["accuracy_of_words"]

WORDS = (
    ("The keyword that defines a function in Python is", [" def", " while"]),
    ("To list the files of a folder one types", [" ls", " rm"]),
)


def accuracy_of_words(harness: Any, folder: Path) -> float:
    """Return the accuracy of olmoe-tiny, its routers and experts on tiles, on a task of two."""
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    rows = [json.dumps({"q": q, "choices": c, "gold": 0}) for q, c in WORDS]
    (folder / "words.jsonl").write_text("\n".join(rows), "utf-8")
    (folder / "words.yaml").write_text(
        "task: local_words\ndataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: '{folder / 'words.jsonl'}'}}}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{q}}'\n"
        "doc_to_choice: '{{choices}}'\ndoc_to_target: gold\nmetric_list: [{metric: acc}]\n",
        "utf-8",
    )
    checkpoint = model_folder("olmoe-tiny")
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    text = torch.randint(0, 4096, (2, 64), generator=torch.Generator().manual_seed(0))
    analog = analogize(model, "eflash_40nm", parts=["router"], calibration=text)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    served = HFLM(pretrained=analog, tokenizer=tokenizer, max_length=256)
    tasks = TaskManager(include_path=str(folder))
    found = harness.simple_evaluate(model=served, tasks=["local_words"], task_manager=tasks)
    return float(found["results"]["local_words"]["acc,none"])
