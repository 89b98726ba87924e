"""A study: the commands a person could type, planned, run on all cores and resumed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
