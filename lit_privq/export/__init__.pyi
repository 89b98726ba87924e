from .command import load as load
from .command import size_on_disk as size_on_disk
from .onnx import onnx_bytes as onnx_bytes
from .packed import load_packed as load_packed
from .packed import packed_bytes as packed_bytes
