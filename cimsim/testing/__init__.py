"""Check batteries for people who test hardware models of their own.

| name | what it checks |
|---|---|
| `check_device_model` | a registered device model, chosen by its configuration section |
| `check_adc_model` | the transfer of a converter section |
| `check_tile` | a whole tile: exactness, twin, independence of order, bad input |

Each battery returns the names of the checks that passed and raises `CimsimError` with the
first that fails, so that one line makes a test::

    def test_my_cell():
        check_device_model(CustomDevice(model="my_cell", cell_bits=2))
"""

from cimsim.testing.adc import check_adc_model
from cimsim.testing.device import check_device_model
from cimsim.testing.tile import check_tile

__all__ = ["check_adc_model", "check_device_model", "check_tile"]
