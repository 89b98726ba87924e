from .accountant import epsilon as epsilon
from .dp_sgd import DPSGD as DPSGD
