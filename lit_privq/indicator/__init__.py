"""The MIS indicator: which quantizer is safest, estimated without an attack."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
