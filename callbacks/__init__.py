"""What runs leave: checkpoints, confidences, audits, indicators, W&B runs. Named by configs, imported nowhere else."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
