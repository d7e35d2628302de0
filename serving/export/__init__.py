"""A run becomes the next version of a served model."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.export.export import ExportOptions, export_model, export_run

__all__ = ["ExportOptions", "export_model", "export_run"]


def __getattr__(name: str) -> object:
    """Imports them when they are asked for: the process that tries a version needs none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from serving.export import export

    return getattr(export, name)
