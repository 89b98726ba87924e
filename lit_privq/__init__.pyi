from .api import QuantizedNetwork as QuantizedNetwork
from .api import load as load
from .api import quantize as quantize
from .calibration import Calibration as Calibration
from .classifier import Classifier as Classifier
from .dp_sgd import DPSGD as DPSGD
from .qat import QuantizationAwareTraining as QuantizationAwareTraining
from .query import Query as Query

__version__: str
