"""Machines that are not there: labelled, seeded, at any rate and faster than time.

`base` paces a generator of rows (see `sensors.drivers.pacing`), the other modules are one generator each. All they hand
over is decided by their configuration, seed and start: the host's clock is read only to wait.
"""

from sensors.drivers.simulated.orders import Orders
from sensors.drivers.simulated.temperature import Temperature
from sensors.drivers.simulated.voltage import Voltage

__all__ = ["Orders", "Temperature", "Voltage"]
