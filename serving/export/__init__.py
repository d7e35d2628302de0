"""A run becomes the next version of a served model."""

from serving.export.export import ExportOptions, export_model, export_run

__all__ = ["ExportOptions", "export_model", "export_run"]
