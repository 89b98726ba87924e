from .command import build as build
from .command import build_several as build_several
