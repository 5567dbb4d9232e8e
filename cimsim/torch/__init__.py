"""A torch model of one's own with its matrices on the tiles of a chip.

    model = AutoModelForCausalLM.from_pretrained(folder)
    analog = cimsim.torch.analogize(model, "isaac", seed=0)
    analog.generate(tokens)
    analog.reprogram(chip_seed=1)

`analogize` returns the same `nn.Module`: its linear layers, routers and experts have become
modules whose products run on `cimsim.backends.torch`; everything else is the model's own code.
Cells, converters and addresses are those of `cimsim run` on the same checkpoint: equal names and
seeds make equal cells, and fresh noise of a token depends on its sequence and position, not on the
batch or on a cache.

Needs ``pip install 'cimsim[torch]'``. Inference only: no gradient passes through a tile, and asking
for one is an error.
"""

from cimsim.torch.analog_model import AnalogModel
from cimsim.torch.analogize import analogize

__all__ = ["AnalogModel", "analogize"]
