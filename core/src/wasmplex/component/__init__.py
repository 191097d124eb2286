"""Reading component binaries: what one imports and exports, and giving its imports labels."""

from wasmplex.component.reader import read
from wasmplex.component.relabel import relabel, rename
from wasmplex.component.shape import Export, Import, InstanceType, Shape

__all__ = ["Export", "Import", "InstanceType", "Shape", "read", "relabel", "rename"]
