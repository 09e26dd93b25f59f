"""What a network is called in folders, tables and commands."""

from collections.abc import Mapping


def network_name(step: str, variant: Mapping[str, str]) -> str:
    """The step, and what differs from it: step7_kernel,kernel_size=9."""
    return ",".join([step, *(f"{key}={value}" for key, value in variant.items())])
