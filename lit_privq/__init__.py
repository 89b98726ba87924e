"""How much privacy does post-training quantization buy, and at what cost?"""

__version__ = "0.1.0"
