"""Which edition of each kind of factor applies where none is named; `harness list factors` marks them with a star."""

from __future__ import annotations

DEFAULTS = {
    "phone": "epa-current",
    "car": "epa-current",
    "grid": "world-2024",
    "web-search": "google-2009",
    "led-bulb": "10w",
    "kettle": "1-litre",
    "household": "usa-2022",
    "streaming": "iea-2019",
    "flight": "short-economy-2024",
    "tree": "epa-current",
    "per-capita": "usa-2023",
    # The chain from the device's energy to the facility's footprint:
    "gpu-to-system": "sdxl-2023",
    "pue": "uptime-2025",
    "wue-onsite": "usa-lbnl-2023",
    "wue-offsite": "world-ecologits",
    # The middle of the customers in the USA: between households and industry, of which Oregon's pays least of all.
    "electricity-price": "usa-commercial-2024",
    "embodied-server": "8gpu-host-2024",
    "server-gpus": "8gpu-host-2024",
    "server-lifetime": "ecologits-2024",
    "searches-per-day": "google-2022",
}
