"""Place of this project's configs: `conf/` of a checkout, or its copy in an installed package."""

from pathlib import Path

_PACKAGED = Path(__file__).resolve().parents[1] / "conf"  # of a wheel (setup.py)
CONF_DIR = _PACKAGED if _PACKAGED.is_dir() else _PACKAGED.parents[1] / "conf"
