"""Which data these are, and whether they still are the same."""

from labkit.data.footprint.footprint import (
    Difference,
    Footprint,
    check_root,
    compare_with_footprint,
    data_verify,
    identify_data,
    is_root,
    measure_arrays,
    measure_footprint,
    read_footprint,
    record_footprint,
)

__all__ = [
    "Difference",
    "Footprint",
    "check_root",
    "compare_with_footprint",
    "data_verify",
    "identify_data",
    "is_root",
    "measure_arrays",
    "measure_footprint",
    "read_footprint",
    "record_footprint",
]
