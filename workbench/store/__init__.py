"""Predictions on disk: shards, tables from other systems, object stores."""

from workbench.store.reader import read
from workbench.store.reduced import write_reduced
from workbench.store.shards import (
    PROVENANCE,
    SHARDS,
    SKIPPED,
    TABLE,
    as_lists,
    origin,
    origin_of,
    shard_count,
    shard_name,
    shard_place,
    skipped,
    write,
    write_provenance,
    write_skipped,
    write_table,
)
from workbench.store.tables import from_frame, to_pandas

__all__ = [
    "PROVENANCE",
    "SHARDS",
    "SKIPPED",
    "TABLE",
    "as_lists",
    "from_frame",
    "origin",
    "origin_of",
    "read",
    "shard_count",
    "shard_name",
    "shard_place",
    "skipped",
    "to_pandas",
    "write",
    "write_provenance",
    "write_reduced",
    "write_skipped",
    "write_table",
]
