from lit_privq.export.command import load, main, size_on_disk

__all__ = ["load", "main", "size_on_disk"]
