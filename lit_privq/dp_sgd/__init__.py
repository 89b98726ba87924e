"""Training with differential privacy: per-example gradients, clipped, summed and made noisy."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
