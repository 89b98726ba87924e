from .module import Fleet as Fleet
from .stack import Stack as Stack
from .ways import join as join
